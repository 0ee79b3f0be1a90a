// Sentences of our code, which are English, in the language of the editor. A table of that language has each
// with a name in braces for what differs: "{path} is not there ({size})." What stands there is looked up as well. A
// sentence that the table does not have stays English. In a message all of them, English ones too, call fields and nodes
// as they are on the screen.

import { api } from "../../scripts/api.js";
import { isOurs, settingOf } from "./ours.js";

const SENTENCES = "likenessSentences"; // in locales/<language>/main.json
const NAME = /\{(\w+)\}/g;
const BETWEEN = /(; | and (?=\S))/; // in a list of files

const exact = new Map(); // whole sentences without a name in them
let patterns = []; // of sentences with names, those of which most is given first
let nodes = []; // of ours, by their type, in English and in the language of the editor: {type, english, own}
let titles = new Map(); // of these nodes, without what stands in brackets

function patternOf([english, form]) {
  const parts = english.split(NAME); // what stands in the sentence, and between that the names
  const fixed = parts.filter((_, place) => place % 2 === 0);
  const names = parts.filter((_, place) => place % 2);
  return { letters: fixed.join("").length, fixed, names, form };
}

/** What stands for the names of a pattern, by name; null where the text is another sentence. Each is as short as it can
 * be: the first place where a text goes on is taken, and no other one tried. */
function valuesIn(text, { fixed, names }) {
  const end = text.length - fixed.at(-1).length;
  if (!text.startsWith(fixed[0]) || !text.endsWith(fixed.at(-1))) return null;
  const values = {};
  let start = fixed[0].length;
  for (const [place, name] of names.entries()) {
    const behind = fixed[place + 1];
    const stop = place === names.length - 1 ? end : text.indexOf(behind, start + 1);
    if (stop <= start) return null;
    values[name] = text.slice(start, stop);
    start = stop + behind.length;
  }
  return values;
}

export async function readSentences() {
  const { en, [settingOf("Comfy.Locale")]: texts } = await api.getCustomNodesI18n();
  const table = Object.entries(texts?.[SENTENCES] ?? {});
  const types = Object.keys(en?.nodeDefs ?? {}).filter(isOurs);
  nodes = types.map((type) => ({ type, english: en.nodeDefs[type], own: texts?.nodeDefs?.[type] ?? en.nodeDefs[type] }));
  titles = new Map(nodes.map(({ english, own }) => [withoutBrackets(english?.display_name ?? ""), withoutBrackets(own.display_name)]));
  for (const [english, form] of table) {
    if (!english.match(NAME)) exact.set(english, form);
  }
  patterns = table.filter(([english]) => english.match(NAME)).map(patternOf);
  patterns.sort((a, b) => b.letters - a.letters);
}

/** words: further translations of whole texts, such as the titles of templates. least: letters that a sentence has in
 * common with that of the table, besides its names. */
export function translated(text, words = new Map(), least = 0) {
  if (words.has(text)) return words.get(text);
  if (exact.has(text)) return exact.get(text);
  for (const pattern of patterns) {
    const values = pattern.letters >= least && valuesIn(text, pattern);
    if (values) return pattern.form.replace(NAME, (_, name) => inList(values[name], words));
  }
  return text;
}

/** What stands in a sentence: one thing, or several with "; ", "and" or commas between them. With commas there are names
 * of menus and of people too, in which no sentence is looked for. */
function inList(text, words) {
  const whole = translated(text, words);
  if (whole !== text) return whole;
  const inCommas = (part) => part.split(", ").map((one) => exact.get(one) ?? one).join(", ");
  return text.split(BETWEEN).map((part, place) => (place % 2 ? part : inCommas(translated(part, words)))).join("");
}

const LEAST = 6; // "{path} is {what}." is of files alone
const SENTENCE_ENDS = /(?<=[.!?]) (?=[A-Z])/;

/** A message of several sentences. type: of the node whose fields it means, where several have one of the same name. */
export function translatedMessage(message, type) {
  const inLine = (line) => line.split(SENTENCE_ENDS).map((sentence) => withLabels(translated(sentence, titles, LEAST), type));
  return message.trim().split("\n").map((line) => inLine(line).join(" ").replaceAll("。 ", "。")).join("\n");
}

// In no name of a file or a folder.
const bare = (id) => new RegExp(`(?<![\\w(（/\\\\.-])${id}(?![\\w)）/\\\\-]|\\.\\w)`, "g");

const withoutBrackets = (title) => title.split(/ ?[(（]/)[0];

/** A sentence with the labels and titles of the editor's language: "Which face (which_face)" for that, and for the bare
 * "which_face". A name of one word is a word of other sentences too: messages have it beside its label alone, which
 * tests/contract/test_messages.py looks at. */
function withLabels(sentence, type) {
  let shown = sentence;
  const inOrder = [...nodes.filter((node) => node.type === type), ...nodes];
  for (const [title, own] of titles) if (title.includes(" ") && title !== own) shown = shown.replaceAll(title, `“${own}”`);
  for (const { english, own } of inOrder) {
    for (const [id, { name }] of Object.entries(own.inputs ?? {})) {
      const label = english?.inputs?.[id]?.name;
      const both = name === label ? `${name} (${id})` : `“${name}”（${id}）`;
      shown = shown.replaceAll(`${label} (${id})`, both);
      // A name of several words is in no sentence by chance.
      if (id.includes("_")) shown = shown.replace(bare(id), both);
    }
  }
  return shown;
}
