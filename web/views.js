// Places without a run: the canvas asks the host who stands where by a prompt of its own, in which Who Stands Where is
// the one output. Not by the editor's partial run, which changes seeds of nodes that do not run, wipes errors away and is
// refused for one node that is not installed. All other nodes go along, so that the host keeps what it has of them.
//
// Only what is quick is asked for by itself. Faces are not: until a run or the button, people have places and no faces.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { VIEW, onPrompt } from "./prompts.js";
import { activeWorkflow, find, isOurs, keptOf } from "./ours.js";
import { translated } from "./sentences.js";

export const [PLACE_CAST, WHO_STANDS_WHERE] = ["LikenessPlaceCast", "LikenessWhoStandsWhere"];
const GROUP_LAYOUT = "LikenessLayoutForAGroup";
const [THE_PHOTO, MATCH_FACES] = ["the photo", "match faces"]; // choices of Cast from Photos and of Place Cast
const LARGEST_GROUP = 12; // people that the layout of a group can be told of
const NUMBERS = [1, 2, 3, 4, 5, 6, 7, 8]; // of the inputs of a cast
const [PLACES, LOOK] = ["likeness_places", "likeness_look"]; // in what nodes show
const PAUSE = 400; // ms without a change, after which the graph is looked at
// What is quick: no samplers, no models of faces.
const QUICK = /^(LoadImage|Primitive\w+|Likeness(Layout\w+|PlaceCast|WhoStandsWhere|Cast|LoadPerson))$/;

const own = new Map(); // id of a prompt of ours -> {view, isWithoutFaces}
const prompts = new Map(); // id of a prompt of this page that has not ended -> {output, workflow}
let cached = new Set(); // nodes with all that is in front of them, as text: what the host has the results of
let sent = Promise.resolve(); // a run may begin before the page has read its id in the host's answer
let tell = () => {};

/** act: called when a view has changed. */
export const onView = (act) => (tell = act);

/** What is known of the places of a node, by its id as the host knows it: {data, asked, fault, waits, isAsked}. */
export const viewOf = (path, workflow = activeWorkflow()) => keptOf(workflow, `view ${path}`, () => ({}));

const isLink = (value) => Array.isArray(value) && value.length === 2;
const linksOf = ({ inputs }) => Object.values(inputs).filter(isLink).map((link) => String(link[0]));

/** The nodes of a prompt that one of them needs, itself among them; undefined where one is not there. */
function needed(prompt, id, found = new Set()) {
  if (found.has(id)) return found;
  if (!Object.hasOwn(prompt, id)) return undefined;
  found.add(id);
  return linksOf(prompt[id]).every((one) => needed(prompt, one, found)) ? found : undefined;
}

/** A node and all in front of it as a text, in the order in which they are found. */
const signatureOf = (prompt, id) =>
  JSON.stringify([...(needed(prompt, id) ?? [])].map((one) => [one, prompt[one].class_type, prompt[one].inputs]));

/** Without nodes that are not installed, and what needs them: for one of them a host refuses all. */
function installed(prompt) {
  const isKnown = ([, { class_type: kind }]) => LiteGraph.registered_node_types[kind];
  const known = Object.fromEntries(Object.entries(prompt).filter(isKnown));
  return Object.fromEntries(Object.entries(known).filter(([id]) => needed(known, id)));
}

/** What a node of ours has to have and has not, as a sentence: a host refuses it, which the browser calls an error. */
function lackOf(id, { class_type: kind, inputs }) {
  const { nodeData, title } = (isOurs(kind) && LiteGraph.registered_node_types[kind]) || {};
  const lacking = Object.keys(nodeData?.input?.required ?? {}).find((name) => !(name in inputs));
  if (!lacking) return undefined;
  const node = find(id).at(-1);
  const { label, localized_name: name = lacking } = node?.inputs.find((input) => input.name === lacking) ?? {};
  return translated(`${node?.title ?? title} gets no ${label ?? name}: connect it, or switch on what it comes from.`);
}

/** The prompt of a view: the graph's, with the output. asked: what is compared: all that is in front, without the text,
 * for a gesture needs no run. Nothing where the node is off or lacks something. */
function promptOf({ path, castPath }, output) {
  const prompt = installed(output);
  const cast = output[path]?.class_type === WHO_STANDS_WHERE ? output[path].inputs.cast : castPath && [castPath, 0];
  if (!cast || !prompt[cast[0]]) return {};
  prompt[VIEW] = { class_type: WHO_STANDS_WHERE, inputs: { cast } };
  const nodes = needed(prompt, VIEW) ?? new Set();
  const inputs = { ...prompt[castPath]?.inputs, arrange: "" };
  const compared = castPath ? { ...prompt, [castPath]: { ...prompt[castPath], inputs } } : prompt;
  const lack = [...nodes].map((id) => lackOf(id, prompt[id])).find(Boolean);
  return { prompt, asked: signatureOf(compared, VIEW), isQuick: isQuick(prompt, nodes), lack };
}

const isQuick = (prompt, nodes) => [...nodes].every((id) => QUICK.test(prompt[id].class_type) || cached.has(signatureOf(prompt, id)));

/** How many people a cast has, without looking at a photo; undefined of a node that does not say it. */
function countOf(prompt, [id]) {
  const { class_type: kind, inputs } = prompt[id];
  const isKept = (person) => person && person !== THE_PHOTO;
  if (kind === "LikenessCastFromPhotos") {
    return NUMBERS.filter((number) => isLink(inputs[`photo_${number}`]) || isKept(inputs[`person_${number}`])).length;
  }
  if (kind !== "LikenessCast") return undefined;
  const before = inputs.cast ? countOf(prompt, inputs.cast) : 0;
  return before + NUMBERS.filter((number) => isLink(inputs[`person_${number}`])).length;
}

/** The same view with as many people whom nobody has photos of: where people stand is known without their faces. Nothing
 * where it is not, or takes a while all the same. The nodes are copies: those of the graph keep what the host has of
 * them. */
function withoutFaces(prompt, castPath) {
  const { cast, order } = prompt[castPath]?.inputs ?? {};
  const count = isLink(cast) && order !== MATCH_FACES ? countOf(prompt, cast) : 0;
  if (!count || count > LARGEST_GROUP) return undefined;
  const made = { ...prompt };
  const copied = (id) => {
    const { class_type: kind, inputs } = prompt[id];
    const name = `${VIEW} ${id.replaceAll(":", " ")}`; // with a colon 1.27 looks for a box
    if (Object.hasOwn(made, name)) return name;
    made[name] = { class_type: kind, inputs: {} };
    for (const [input, value] of Object.entries(inputs)) {
      if (input === "cast" && isLink(value)) continue;
      made[name].inputs[input] = isLink(value) ? [copied(String(value[0])), value[1]] : value;
    }
    if (kind === GROUP_LAYOUT) made[name].inputs.count = count;
    if (kind === PLACE_CAST && !isLink(inputs.arrange)) made[name].inputs.arrange = "";
    return name;
  };
  made[VIEW] = { class_type: WHO_STANDS_WHERE, inputs: { cast: [copied(castPath), 0] } };
  return isQuick(made, needed(made, VIEW) ?? new Set([VIEW])) ? made : undefined;
}

/** byItself: only if something has changed, and if it is quick. */
export async function show(canvas, byItself = false) {
  const view = viewOf(canvas.viewPath);
  const { output, workflow } = await app.graphToPrompt();
  const { prompt: whole, asked, isQuick: isWholeQuick, lack } = promptOf(canvas, output);
  if (!whole || (byItself && asked === view.asked)) return;
  if (lack) {
    Object.assign(view, { asked, fault: lack, isAsked: false });
    tell();
    return;
  }
  const isWithoutFaces = byItself && !isWholeQuick;
  const prompt = isWithoutFaces ? withoutFaces(whole, canvas.castPath) : whole;
  view.isAsked = !prompt;
  if (!prompt) {
    tell();
    return;
  }
  Object.assign(view, { asked, fault: "" });
  const { Running } = await api.getQueue();
  view.waits = Running?.length > 0;
  tell();
  const answer = api.queuePrompt(-1, { output: prompt, workflow }, { partialExecutionTargets: [VIEW] });
  sent = answer.then(({ prompt_id: id }) => own.set(id, { view, isWithoutFaces })).catch(() => {});
  try {
    await answer;
  } catch (refused) {
    Object.assign(view, { fault: faultOf(refused), waits: false });
    tell();
  }
}

/** Why a host has refused a prompt, in its own words. */
function faultOf(/** @type {any} */ { response, message }) {
  const errors = Object.values(response?.node_errors ?? {}).flatMap((node) => node.errors ?? []);
  return errors[0]?.details || errors[0]?.message || response?.error?.message || message;
}

let due;
/** Once nothing has changed for a while, canvases that are seen ask for their places. */
export function showSoon(canvases) {
  clearTimeout(due);
  due = setTimeout(() => {
    const seen = canvases().filter(({ element }) => element.checkVisibility());
    for (const canvas of new Map(seen.map((one) => [one.viewPath, one])).values()) show(canvas, true);
  }, PAUSE);
}

/** Whatever has run: a view of a canvas, or a picture with its nodes. */
async function onExecuted({ detail: { node, display_node: id = node, output, prompt_id: run } }) {
  const { [PLACES]: [places] = [], [LOOK]: [look] = [] } = output ?? {};
  const data = places ?? look;
  if (!data) return;
  await sent;
  if (!prompts.has(run)) return; // of another page
  const { view = viewOf(String(id), prompts.get(run).workflow), isWithoutFaces } = (places && own.get(run)) || {};
  if (isWithoutFaces) data.castless = false; // who is added then has a photo, too
  Object.assign(view, { data, fault: "", waits: false, isAsked: false });
  tell();
}

function onSent(answer, workflow, output) {
  const kept = answer.then(({ prompt_id: id }) => prompts.set(id, { output, workflow })).catch(() => {});
  sent = Promise.all([sent, kept]).then(() => {});
}

async function onStart({ detail: { prompt_id: run } }) {
  await sent;
  const { view } = own.get(run) ?? {};
  if (view) view.waits = false;
  tell();
}

/** After a success the host has the results of all nodes that have run, and of those of before that are still there. */
async function onEnd({ type, detail: { prompt_id: run, exception_message: fault } }) {
  await sent;
  const { output = {} } = prompts.get(run) ?? {};
  const all = Object.keys(output);
  const ran = type === "execution_success" ? (needed(output, VIEW) ?? new Set(all)) : new Set();
  const kept = all.map((id) => ({ id, text: signatureOf(output, id) })).filter(({ id, text }) => ran.has(id) || cached.has(text));
  if (all.length) cached = new Set(kept.map(({ text }) => text));
  const { view } = own.get(run) ?? {};
  if (view) Object.assign(view, { waits: false, fault: fault ?? "" });
  prompts.delete(run);
  own.delete(run);
  if (view) tell();
}

app.registerExtension({
  name: "likeness.views",
  setup() {
    onPrompt(onSent);
    api.addEventListener("executed", onExecuted);
    api.addEventListener("execution_start", onStart);
    for (const end of ["success", "error", "interrupted"]) api.addEventListener(`execution_${end}`, onEnd);
  },
});
