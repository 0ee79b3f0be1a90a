// What a run says of our nodes, under the node; of a node in a box on the canvas that the box feeds, as front ends have
// taken what was added to a box in three ways within a year. A note belongs to one run of one workflow: it stands there,
// in the tab that has started the run, for as long as the host keeps the node's result. What no node in sight shows, such
// as in an app, is a toast.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { whereToSetNamed } from "./errors.js";
import { activeWorkflow, find, inApp, isOurs, linked, made } from "./ours.js";
import { isView, onPrompt, promptOf } from "./prompts.js";
import { translated, translatedMessage } from "./sentences.js";
import { hide, show } from "./toasts.js";

const NOTE = "likeness_note"; // of bridge/host/notes.py: in what a node has shown, and what comes while a sampler runs
const MOST = 160; // pixels of a note that are seen at once; the rest is scrolled to
const TOAST = "notes";
const CANVAS = "likeness_canvas"; // the widget that has a line of its own for notes
const SHOWS_PLACES = "LikenessWhoStandsWhere";
const UNREAD = "unread"; // the topic of a node that was not run, as nothing reads it
const READ_IT =
  "Nothing shows or saves what this node makes, so it was not run. Connect an output of it to a node that does, such as Preview Image.";
const PICTURE = "$$canvas-image-preview"; // what the editor calls it

const runs = new Map(); // id of a run -> the workflow that has started it
const notesOf = new WeakMap(); // workflow -> Map: id of a node -> Map: topic -> {run, text}
let sent = Promise.resolve(); // a run may begin before the page has read its id in the host's answer
let shown = new Set(); // nodes with a note
let toasted = ""; // the text of the toast

/** Once the host has taken a prompt, its answer has the id of the run. */
function onSent(answer, workflow, nodes) {
  if (isView(nodes)) return;
  sent = answer.then(({ prompt_id: run }) => workflow && runs.set(run, workflow)).catch(() => {});
}

/** The notes that belong to the workflow of a run; none where this page has not started it. */
async function notesOfRun(run) {
  await sent;
  const workflow = runs.get(run);
  if (!workflow) return new Map();
  if (!notesOf.has(workflow)) notesOf.set(workflow, new Map());
  return notesOf.get(workflow);
}

const sourcesOf = ({ inputs }) => Object.values(inputs ?? {}).filter(Array.isArray).map(([id]) => String(id));
const isOutput = ({ class_type: type }) => LiteGraph.registered_node_types[type]?.nodeData?.output_node;

/** Of a prompt the ids of our nodes that are given something and lead to no output: the host runs none of them. */
function unreadIn(nodes) {
  const run = new Set(Object.keys(nodes).filter((id) => isOutput(nodes[id])));
  for (const id of run) for (const source of sourcesOf(nodes[id] ?? {})) run.add(source);
  return Object.keys(nodes).filter((id) => !run.has(id) && isOurs(nodes[id].class_type) && sourcesOf(nodes[id]).length);
}

/** A node that is run again, or is not there any more, has lost its result, and its notes with it. */
async function onStart({ detail: { nodes: kept, prompt_id: run } }) {
  const notes = await notesOfRun(run);
  for (const id of [...notes.keys()]) if (!kept.includes(id)) notes.delete(id);
  for (const id of unreadIn((await promptOf(run)) ?? {})) notes.set(id, new Map([[UNREAD, { run, text: READ_IT }]]));
  draw();
}

/** A topic without a text: a later run has nothing to say of it. */
async function put(run, id, topic, text) {
  const notes = await notesOfRun(run);
  const topics = notes.get(id) ?? new Map();
  if (text) topics.set(topic, { run, text });
  else if (topics.get(topic)?.run !== run) topics.delete(topic);
  notes.set(id, topics);
  draw();
}

/** Of a list there is a note for each of its items, and of a loop for each of its turns, which have ids of their own. */
function onExecuted({ detail: { node, display_node: id = node, output, prompt_id: run } }) {
  const texts = new Set(output?.[NOTE] ?? []);
  put(run, String(id), String(node), [...texts].filter(Boolean).join("\n"));
}

/** Nothing more comes of a run that has ended: a workflow that is closed need not be kept for it. */
async function onEnd({ detail: { prompt_id: run } }) {
  await sent;
  runs.delete(run);
}

const onSampling = ({ detail: { prompt_id: run, node, topic, text } }) => put(run, node, topic, text);

const inOrder = ([a], [b]) => a.localeCompare(b, "en", { numeric: true });

/** The notes of the open workflow, each where it is seen. */
function draw() {
  const notes = new Map(); // node that shows them -> [{node that has told it, text}]
  const unseen = [];
  for (const [id, topics] of [...(notesOf.get(activeWorkflow()) ?? [])].sort(inOrder)) {
    const nodes = find(id);
    const told = [...new Set([...topics.values()].map(({ text }) => text))];
    if (!told.length || !nodes.length) continue;
    const node = nodes.at(-1);
    if (node.type === SHOWS_PLACES) continue; // what Place Cast tells
    const lines = told.map((text) => translatedMessage(text, node.type));
    const ways = [...new Set(told.map((text) => whereToSetNamed(id, node.type, text)))].filter(Boolean);
    const text = [...lines, ...ways].join("\n");
    const isUnread = topics.has(UNREAD); // where somebody builds: in a box that was made it may be meant so
    const places = isUnread ? [node] : [node, ...nodes.slice(0, -1).flatMap(canvasesBehind)];
    for (const place of places) {
      notes.set(place, [...(notes.get(place) ?? []), { node, text: place === node ? lines.join("\n") : text }]);
    }
    if (!isUnread && !places.some(isInSight)) unseen.push(inApp() ? text : `${nodes[0].title}: ${text}`);
  }
  for (const node of shown) if (!notes.has(node)) write(node, []);
  for (const [node, told] of notes) write(node, told);
  shown = new Set(notes.keys());
  toast(unseen);
}

/** The canvases that show the people of a box: each Who Stands Where at one of its outputs. */
function canvasesBehind({ graph, outputs }) {
  const readers = outputs.flatMap(({ links }) => links ?? []).map((id) => graph.getNodeById(graph.getLink(id)?.target_id));
  return readers.filter((node) => node?.type === SHOWS_PLACES);
}

const isInSight = ({ graph, flags }) => !inApp() && graph === app.canvas.graph && !flags.collapsed;

/** One line that unfolds: it may lie over a picture. One that was closed stays so until it says something else. */
function toast(lines) {
  const text = lines.join("\n");
  if (text === toasted) return;
  toasted = text;
  const count = lines.length;
  if (text) show(TOAST, "warn", translated(`${count} ${count === 1 ? "note" : "notes"} on this run`), text, true);
  else hide(TOAST);
}

/** notes: [{node that has told it, text}]; none takes away what was there. */
function write(node, notes) {
  const widgetOf = (name) => node.widgets?.find((widget) => widget.name === name);
  const canvas = widgetOf(CANVAS);
  if (canvas) return canvas.tell(notes);
  const before = widgetOf(NOTE);
  if (!notes.length) {
    if (before) node.removeWidget(before);
    return node.setDirtyCanvas(true, true);
  }
  const text = notes.map((note) => note.text).join("\n");
  const { element } = before ?? add(node);
  if (element.textContent !== text) element.firstChild.replaceChildren(...linked(text));
  return undefined;
}

function add(node) {
  const text = made("div", "", "white-space: pre-line; overflow-wrap: anywhere; padding: 6px 10px");
  // The bar shows that there is more.
  const element = made("div", text, `max-height: ${MOST}px; overflow-y: auto; scrollbar-width: thin; user-select: text`);
  element.style.cssText += "; scrollbar-color: #888 transparent; border-radius: 8px; font-size: 12px; line-height: 1.4";
  element.style.cssText += "; color: var(--input-text, #ddd); background: var(--comfy-input-bg, #222)";
  element.dataset.captureWheel = "true";
  // Classic nodes leave a margin around what a widget shows.
  const height = () => Math.min(MOST, text.offsetHeight || 30) + (LiteGraph.vueNodesMode ? 0 : 20);
  const widget = node.addDOMWidget(NOTE, NOTE, element, { serialize: false, getMinHeight: height, getMaxHeight: height });
  widget.serialize = false;
  // Classic nodes leave the room below their last widget to a picture, which has come before.
  const picture = node.widgets?.findIndex(({ name }) => name === PICTURE) ?? -1;
  if (picture >= 0) node.widgets.push(...node.widgets.splice(picture, 1));
  // Once it is laid out, its height is known. A Vue node takes the room that it needs by itself.
  const makeRoom = () => {
    const needed = node.computeSize()[1];
    if (text.offsetHeight && node.size[1] < needed) node.setSize([node.size[0], needed]);
    node.setDirtyCanvas(true, true);
  };
  if (!LiteGraph.vueNodesMode) new ResizeObserver(makeRoom).observe(text);
  return widget;
}

app.registerExtension({
  name: "likeness.notes",
  setup() {
    onPrompt(onSent);
    api.addEventListener("execution_cached", onStart);
    api.addEventListener("executed", onExecuted);
    api.addEventListener(NOTE, onSampling);
    for (const end of ["success", "error", "interrupted"]) api.addEventListener(`execution_${end}`, onEnd);
  },
  afterConfigureGraph() {
    shown = new Set();
    toasted = "";
    // Its tab is known a while later.
    for (const wait of [0, 100, 500, 2000]) setTimeout(draw, wait);
  },
});
