// Our errors and notes are English. In an editor of another language each field, node, button and word of a list that
// they name gets the label behind it that is seen there: "Set Which face (用哪张脸) to ...". It is put in before
// anybody reads the message, so that the editor's own list of errors, its notes and our toasts all have it.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { find, isOurs, settingOf } from "./ours.js";
import { translated } from "./sentences.js";

// Of locales/<language>/main.json: labels in our templates, words of lists, and what the editor calls its own buttons.
const TEMPLATE_LABELS = "likenessLabels";
const OPTIONS = "likenessOptions";
const BUTTONS = "likenessButtons";

const DOCTOR = "LikenessCheckModelFiles"; // whose note is a report, of whole sentences that locales has

const english = new Map(); // node type -> its English title, for nodes of the host and of other packs too
let words = null; // null where the editor is English

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
const isSeveralWords = (text) => /^[A-Z]\S* \S/.test(text);
const isCode = (name) => name.includes("_");

/** "Cast (people)" is called Cast in messages. */
const withoutRemark = (title) => title.replace(/ *[(（][^()（）]*[)）]$/, "");

/** A pattern for any of these texts, the longest first; one that fits nothing where there are none. */
function anyOf(texts) {
  const longestFirst = [...new Set(texts)].filter(Boolean).sort((a, b) => b.length - a.length);
  return longestFirst.length ? `(?:${longestFirst.map(escaped).join("|")})` : "(?!)";
}

/** What is named how: labels by English text, of fields by node type too. */
class Words {
  constructor(ours, englishDefs, defs, titles) {
    this.titles = titles; // English title -> the title that is shown
    this.types = new Map(); // English title -> node type
    this.fields = new Map(); // node type -> Map of id or English label -> label
    this.anyField = new Map(); // the same of all nodes together; a node's own label goes first
    this.options = new Map(Object.entries(ours?.[OPTIONS] ?? {}));
    this.buttons = new Map(Object.entries(ours?.[BUTTONS] ?? {}));
    for (const [type, definition] of Object.entries(englishDefs)) {
      if (isOurs(type)) this.addNode(type, definition, defs[type]);
    }
    for (const [label, shown] of Object.entries(ours?.[TEMPLATE_LABELS] ?? {})) {
      if (isSeveralWords(label) && !this.anyField.has(label)) this.anyField.set(label, shown);
    }
    this.pattern = this.patternOfNames();
    this.offers = new RegExp(`(?<![\\w-])${anyOf(this.options.keys())}(?![\\w-])`, "g");
  }

  addNode(type, definition, shown) {
    const title = withoutRemark(definition.display_name);
    this.types.set(title, type);
    if (shown?.display_name) this.titles.set(title, withoutRemark(shown.display_name));
    const fields = new Map();
    const outputs = Object.entries(definition.outputs ?? {}).map(([number, output]) => [output.name, number]);
    for (const [name, number] of outputs) {
      const label = shown?.outputs?.[number]?.name;
      if (label) fields.set(name, label);
    }
    for (const [id, input] of Object.entries(definition.inputs ?? {})) {
      const label = shown?.inputs?.[id]?.name;
      if (!label) continue;
      for (const name of [id, input.name]) fields.set(name, label);
    }
    this.fields.set(type, fields);
    for (const [name, label] of fields) if (!this.anyField.has(name)) this.anyField.set(name, label);
  }

  /** A name of several words, or of an underscore, is one wherever it stands. A name of one word, such as "width", is
   * one where the sentence shows it: "Set width to 512", "the cast input of Place Cast", "body = half". */
  patternOfNames() {
    const names = [...this.anyField.keys()];
    const certain = anyOf(names.filter((name) => isSeveralWords(name) || isCode(name)));
    const single = anyOf(names.filter((name) => !isSeveralWords(name) && !isCode(name) && name.length > 1));
    const titles = [...this.titles.keys()];
    const certainTitle = anyOf(titles.filter(isSeveralWords));
    const singleTitle = anyOf(titles.filter((title) => !isSeveralWords(title) && this.types.has(title)));
    const option = anyOf(this.options.keys());
    const verb = "\\b(?:[Ss]et|[Rr]aise|[Ll]ower|[Ll]eave|[Cc]hange|[Cc]lear)";
    const behind = [
      " input\\b",
      " = ",
      " set to ",
      ` (?:in|of) (?:${certainTitle}|${singleTitle})`,
      " is (?:['\\d-]|(?:a|an) \\w+;)",
    ];
    const field = [
      certain,
      `${single}(?=${behind.join("|")})`,
      `(?<=${verb} )${single}(?=[ ,.;])`,
      `(?<=${verb} [^.;]{1,40}(?:and|or) )${single}(?= to )`,
    ];
    const chosen = [
      `(?<=${certain} (?:at|to) )${option}`,
      `(?<=['"])${option}(?=['"])`,
      `(?<= = )${option}`,
      `(?<= = ${option} or )${option}`,
      `(?<=${verb} [^.;]{1,40} to )${option}`,
    ];
    const alternatives = [
      `(?<button>${anyOf(this.buttons.keys())})`,
      `(?<title>${certainTitle}|(?<=[a-z,;(] ?)${singleTitle}(?! \\d))`,
      `(?<field>${field.join("|")})(?<other> \\([A-Za-z_ ]+\\))?`,
      `(?<option>${chosen.join("|")})`,
    ];
    return new RegExp(`(?<![\\w-])(?:${alternatives.join("|")})(?![\\w-])`, "g");
  }

  /** type: of the node whose message it is, whose own labels go before those of others. */
  put(text, type) {
    const named = text.replace(this.pattern, (...found) => this.labelled(found, type));
    return named.replace(/Choose one of: [^\n]*/g, (list) =>
      list.replace(this.offers, (word, place) => withLabel(word, this.options.get(word), list.slice(place + word.length))),
    );
  }

  labelled(found, type) {
    const [match] = found;
    const { button, title, field, other, option } = found.at(-1);
    const text = found.at(-2);
    const rest = text.slice(found.at(-3) + match.length);
    if (button) return withLabel(button, this.buttons.get(button), rest);
    if (title) return withLabel(title, this.titles.get(title), rest);
    if (option) return withLabel(option, this.options.get(option), rest);
    // "the cast input of Place Cast": of the node that is named there.
    const of = /^(?: input)?,? (?:of|in) ([^.,;:(]+)/.exec(rest)?.[1] ?? "";
    const named = [...this.types.keys()].filter((known) => of.startsWith(known)).sort((a, b) => b.length - a.length)[0];
    const label = this.labelOf(field, this.types.get(named) ?? type);
    if (!other) return withLabel(field, label, rest);
    // "Which face (which_face)": two names of one field; "order (Who is where)": the second is that of a box around it.
    const second = this.labelOf(other.slice(2, -1), type);
    if (!second) return withLabel(field, label, `${other}${rest}`) + other;
    const labels = [...new Set([label, second])].join(", ");
    return withLabel(field, labels, rest);
  }

  labelOf(name, type) {
    return this.fields.get(type)?.get(name) ?? this.anyField.get(name);
  }
}

/** Once only: a note that is shown again has its labels already. */
function withLabel(name, label, rest) {
  const isThere = [")", ","].some((end) => rest.startsWith(` (${label}${end}`));
  if (!label || label === name || isThere) return name;
  return `${name} (${label})`;
}

async function readWords() {
  const language = settingOf("Comfy.Locale");
  if (language === "en") return;
  const tables = await api.getCustomNodesI18n();
  const titles = new Map();
  for (const [type, title] of english) {
    const shown = LiteGraph.registered_node_types[type]?.title;
    if (shown && isSeveralWords(title)) titles.set(title, shown);
  }
  for (const [title, shown] of [...titles]) {
    const bare = withoutRemark(title);
    if (!titles.has(bare)) titles.set(bare, withoutRemark(shown)); // "CLIP Text Encode (Prompt)"
  }
  const ours = tables[language];
  words = new Words(ours, tables.en?.nodeDefs ?? {}, ours?.nodeDefs ?? {}, titles);
}

function labelRunError(detail) {
  if (!isOurs(detail?.node_type)) return;
  // toasts.js looks for the fields' own names: "which_face".
  detail.untranslated = String(detail.exception_message);
  detail.exception_message = words.put(detail.untranslated, detail.node_type);
}

function labelNote(detail) {
  if (typeof detail?.text !== "string") return;
  const node = find(detail.nodeId).at(-1);
  if (node?.type === DOCTOR) detail.text = detail.text.split(/ *\n/).map((line) => translated(line)).join("  \n");
  else if (isOurs(node?.type) || node?.subgraph) detail.text = words.put(detail.text, node.type);
}

/** What the host answers to a prompt that it has refused, all of it or in part. */
function labelRefusal(answer) {
  if (!words) return;
  for (const { class_type: type, errors } of Object.values(answer?.node_errors ?? {})) {
    if (!isOurs(type)) continue;
    for (const error of errors ?? []) {
      if (!error.details) continue;
      error.untranslated = String(error.details);
      error.details = words.put(error.untranslated, type);
    }
  }
}

/** No event tells of a refused prompt: its answer is looked at on the way. */
function watchAnswers() {
  const send = api.queuePrompt;
  api.queuePrompt = async function (...inputs) {
    try {
      const answer = await send.apply(this, inputs);
      labelRefusal(answer);
      return answer;
    } catch (refused) {
      labelRefusal(refused?.response);
      throw refused;
    }
  };
}

const LABELLED = { execution_error: labelRunError, progress_text: labelNote };

/** What the host tells the page passes here before anybody hears of it. To listen would be too late: the editor has
 * listened for longer, and keeps a copy of the text. */
function watchEvents() {
  const tell = api.dispatchCustomEvent;
  api.dispatchCustomEvent = function (type, detail) {
    if (words) LABELLED[type]?.(detail);
    return tell.call(this, type, detail);
  };
}

/** The editor translates what the host tells of nodes as soon as it has it. */
function watchDefinitions() {
  const ask = api.getNodeDefs;
  api.getNodeDefs = async function (...inputs) {
    const definitions = await ask.apply(this, inputs);
    for (const [type, { display_name: title }] of Object.entries(definitions)) english.set(type, title ?? type);
    return definitions;
  };
}

app.registerExtension({
  name: "likeness.field_labels",
  // Before toasts.js looks at answers, so that it reads what is put in here.
  init() {
    watchDefinitions();
    watchAnswers();
    watchEvents();
  },
  async setup() {
    await readWords();
  },
});
