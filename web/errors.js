// Errors of our nodes, where they are looked for: cause and remedy, in the language of the editor as far as its table goes,
// and where one sets what they ask for when the node is inside of a subgraph or the graph is shown as an app.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { find, inApp, isOurs, settingOf, templateTitles } from "./ours.js";
import { isView, onPrompt, promptOf } from "./prompts.js";
import { translated, translatedMessage } from "./sentences.js";
import { hide, show } from "./toasts.js";

const ERROR = "error"; // what its toast is about
const UNREADABLE = "/likeness/unreadable"; // the route of bridge/host/routes.py

let listMissing = () => false;
/** What tells of all missing files at once, and whether there are any. */
export const onMissing = (list) => (listMissing = list);

// The templates in which one draws a box around a face that no detector finds: of one person, and of two.
const TEMPLATE_WITH_BOX = "ip_adapter_sd15_portrait";
const TEMPLATE_WITH_TWO_BOXES = "ip_adapter_without_insightface";
/** Detect Faces reads the photo that people are put into, which takes no box. */
const isWithoutFace = ([, type, , kind]) => kind === "likeness.FaceNotFound" && type !== "LikenessDetectFaces";

/** Whether a box can be drawn where the error is seen: a Person that is in no subgraph takes it itself. */
const isPersonInSight = ([id, type]) => type === "LikenessPerson" && !boxesAround(id, type).length;

async function whereToDrawABox() {
  const titles = new Map(await templateTitles());
  const forOne = titles.get(TEMPLATE_WITH_BOX) ?? TEMPLATE_WITH_BOX;
  const forTwo = titles.get(TEMPLATE_WITH_TWO_BOXES) ?? TEMPLATE_WITH_TWO_BOXES;
  return translated(`Boxes are drawn in the template “${forOne}”, for two people in “${forTwo}”.`);
}

const isMissing = ([, , , kind]) => kind === "likeness.ModelMissing";

/** What failed, of a run or of a prompt that was refused: [id, type, message, kind of error] of each node. */
async function showErrors(nodes, noFile) {
  const listed = (noFile || nodes.some(isMissing)) && (await listMissing());
  const failed = nodes.filter((one) => !listed || !isMissing(one));
  // Without a list of errors beside the graph, frontends open a dialog with the whole message.
  if (!failed.length || !settingOf("Comfy.RightSidePanel.ShowErrorsTab")) return;
  const titles = failed.map(([id, type]) => titleOf(id, type));
  const lines = [...new Set(failed.map(([, type, message]) => translatedMessage(String(message), type)))];
  const needsTemplate = failed.some((one) => isWithoutFace(one) && !isPersonInSight(one));
  if (needsTemplate) lines.push(await whereToDrawABox());
  const ways = failed.filter((one) => !isWithoutFace(one)).map(whereToSet).filter(Boolean);
  show(ERROR, "error", titles.join(", "), [...lines, ...new Set(ways)].join("\n"));
}

/** Where one sets what the message of a node in subgraphs asks for: the fields of the outermost one that stand for it,
 * else how the subgraph is opened. Nothing for a node in sight. */
function whereToSet([id, type, message]) {
  const around = boxesAround(id, type);
  if (!around.length) return "";
  const fields = fieldsOutside(around, find(id).at(-1), String(message));
  if (fields.length) return translated(`Set it on the subgraph “${around[0].title}”: ${fields.join(", ")}.`);
  return howToOpen(around.map(({ title }) => title).join(" › "));
}

/** The same of a note, where it names an input: many name none. */
export function whereToSetNamed(id, type, note) {
  const isAnyNamed = ({ inputs }) => inputs?.some(({ name }) => isNamed(name, note));
  return [...dependedOn(find(id).at(-1))].some(isAnyNamed) ? whereToSet([id, type, note]) : "";
}

/** What the outermost subgraph node calls the inputs that a message names, of a node or of those that it depends on.
 * None where the node itself has one that is set inside alone. */
function fieldsOutside(around, node, message) {
  const fields = new Set();
  for (const one of dependedOn(node)) {
    for (const { name, widget, link } of one.inputs.filter((input) => isNamed(input.name, message))) {
      const field = fieldOutside(around, one, name) ?? onlyField(around, sourceInside(one, link));
      if (field) fields.add(field);
      else if (one === node && widget) return [];
    }
  }
  if (fields.size) return [...fields];
  const titleOfKind = ({ type }) => LiteGraph.registered_node_types[type]?.title;
  const called = [...dependedOn(node)].filter((one) => titleOfKind(one) && message.includes(titleOfKind(one)));
  // What a loader says is about the one thing that is chosen in it.
  if (node?.inputs.every(({ widget }) => widget)) called.push(node);
  return [...new Set(called.map((one) => onlyField(around, one)).filter(Boolean))];
}

/** The field outside of a node that has one alone, such as that of a loader. */
function onlyField(around, node) {
  const fields = node?.inputs.map(({ name }) => fieldOutside(around, node, name)).filter(Boolean) ?? [];
  return fields.length === 1 ? fields[0] : undefined;
}

/** The node beside another one in a subgraph to whose input a link leads, if any. */
const sourceInside = ({ graph }, link) => graph.getNodeById(graph.getLink(link)?.origin_id);

/** A node, and those inside of its subgraph whose results it reads. */
function dependedOn(node, seen = new Set()) {
  if (!node || seen.has(node)) return seen;
  seen.add(node);
  for (const { link } of node.inputs ?? []) {
    dependedOn(node.graph.getNodeById(node.graph.getLink(link)?.origin_id), seen);
  }
  return seen;
}

/** Whether a message names an input of a node, as ours do beside its label: "Which face (which_face)". A name of several
 * words is in no sentence by chance. */
function isNamed(input, message) {
  if (message.includes(`(${input})`) || message.includes(`The ${input} input`)) return true;
  return input.includes("_") && new RegExp(`\\b${input}\\b`).test(message);
}

const FROM_OUTSIDE = "-10"; // the origin of a link that begins at an input of its subgraph, a number in some frontends

/** What the outermost subgraph node calls the input of a node inside of it; nothing where it does not have it. */
function fieldOutside(around, node, name) {
  let [inside, input] = [node, name];
  for (const box of [...around].reverse()) {
    const link = box.subgraph.getLink(inside.inputs.find((slot) => slot.name === input)?.link);
    if (String(link?.origin_id) !== FROM_OUTSIDE) return undefined;
    input = box.subgraph.inputs[link.origin_slot].name;
    inside = box;
  }
  const field = inside.inputs.find((slot) => slot.name === input);
  return field?.label ?? field?.name;
}

/** The subgraph nodes around a node, the outermost first; none where the open workflow is not the one that has run. */
function boxesAround(id, type) {
  const nodes = find(id);
  return nodes.at(-1)?.type === type ? nodes.slice(0, -1) : [];
}

/** "Group photo › Cast from Photos": the second is in the first, where nobody sees it. */
function titleOf(id, type) {
  const node = find(id).at(-1);
  // In the tab of another workflow than the one that has run the id is another node's.
  const title = (node?.type === type ? node.title : LiteGraph.registered_node_types[type]?.title) ?? "Likeness";
  return [...boxesAround(id, type).map((box) => box.title), title].join(" › ");
}

/** path: the titles of the subgraph nodes around a node. */
function howToOpen(path) {
  const before = inApp() ? "In the graph this" : "This";
  // With an error the button is called "Enter" in Nodes 2.0.
  const button = "“Enter” or “Enter subgraph” at its bottom opens it";
  return translated(`${before} node is in the subgraph “${path}”: ${button}, or under classic nodes the icon at its top right.`);
}

const isLikenessError = (type) => String(type).startsWith("likeness.");

function onRunError({ detail }) {
  const { node_id, node_type, exception_type, exception_message: message, prompt_id: run } = detail;
  if (isLikenessError(exception_type)) showErrors([[node_id, node_type, message, exception_type]]);
  else showUnreadable(node_id, node_type, run);
}

/** Why a loader of the host has failed, in a workflow with nodes of ours, where its file tells it. */
async function showUnreadable(id, type, run) {
  const prompt = await promptOf(run);
  const failed = prompt?.[id];
  if (!failed || !Object.values(prompt).some(({ class_type: kind }) => isOurs(kind))) return;
  const answer = await api.fetchApi(UNREADABLE, { method: "POST", body: JSON.stringify({ [id]: failed }) });
  const found = answer.ok ? await answer.json() : [];
  const lines = found.map(({ says }) => translatedMessage(says, type));
  const ways = found.map(({ input }) => whereToSet([id, type, `(${input})`])).filter(Boolean);
  if (lines.length) show(ERROR, "error", titleOf(id, type), [...lines, ...new Set(ways)].join("\n"));
}

function onRefusal(answer) {
  const failed = Object.entries(answer?.node_errors ?? {}).flatMap(([id, { class_type, errors = [] }]) => {
    const ours = errors.find(({ extra_info }) => isLikenessError(extra_info?.exception_type));
    if (!ours) return [];
    return [[id, class_type, ours.details, ours.extra_info.exception_type]];
  });
  const errors = Object.values(answer?.node_errors ?? {}).flatMap((node) => node.errors ?? []);
  showErrors(failed, errors.some(({ type }) => type === "value_not_in_list"));
}

function onSent(answer, _, prompt) {
  if (isView(prompt)) return; // it is said on the canvas
  hide(ERROR);
  answer.then(onRefusal, (refused) => onRefusal(refused?.response));
}

app.registerExtension({
  name: "likeness.errors",
  setup() {
    api.addEventListener("execution_error", onRunError);
    onPrompt(onSent);
  },
});
