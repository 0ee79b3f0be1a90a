// In a graph with a node of ours, a menu that has the name of a file in another system's spelling takes it: Windows writes
// folder\file, others folder/file, a Mac writes letters and their accents apart. A workflow that was saved on one system
// so runs on another. Only our own menus do this, and Load ControlNet's, and only where what they hold is not in the menu
// and one name alone means the same: no frontend and no host would take it as it stands.
// core/checks/names.py does the same where the host, and not the page, reads a name.

import { app } from "../../scripts/app.js";
import { allNodesOf, isOurs, nodesOf, someAreOurs } from "./ours.js";

// Of ComfyUI's own loaders the one whose files lie in folders in our templates: ID-Patch's and InstantID's ControlNets
// are both called diffusion_pytorch_model.safetensors.
const takesNames = (type) => isOurs(type) || type === "ControlNetLoader";

/** A name as it would be written here if all systems wrote alike, without ./ for the folder itself. */
const spelled = (name) =>
  name
    .normalize("NFC")
    .replaceAll("\\", "/")
    .replace(/^(?:\.\/+)+/, "")
    .replace(/([^/])\/(?:\.?\/)+/g, "$1/");

/** The only word of a menu that this test fits; undefined where there is none, or more than one. */
function only(menu, fits) {
  const fitting = menu.filter(fits);
  return fitting.length === 1 ? fitting[0] : undefined;
}

/** The word of a menu that a name means which the menu does not have as it is written; undefined where there is none. */
function sameName(name, menu) {
  const wanted = spelled(name);
  const lower = wanted.toLowerCase();
  // Capitals come second: where they tell two files apart, none is taken for the other.
  return (
    only(menu, (word) => spelled(word) === wanted) ?? only(menu, (word) => spelled(word).toLowerCase() === lower)
  );
}

/** The words that a widget offers; none where it is no menu of words. */
function menuOf(widget, node) {
  if (widget?.type !== "combo") return [];
  const values = widget.options?.values;
  const menu = typeof values === "function" ? values(widget, node) : values;
  return Array.isArray(menu) ? menu.filter((word) => typeof word === "string") : [];
}

/** Whether an input, or what an input of a box stands for inside of it, is one of these nodes'. */
function takesNamesAt(node, name) {
  if (!node?.subgraph) return takesNames(node?.type);
  const links = node.subgraph.inputs.find((input) => input.name === name)?.linkIds ?? [];
  return links.some((id) => {
    const { target_id: inside, target_slot: slot } = node.subgraph.getLink(id) ?? {};
    const target = node.subgraph.getNodeById(inside);
    return takesNamesAt(target, target?.inputs?.[slot]?.name);
  });
}

function takeNames(node) {
  for (const widget of node.widgets ?? []) {
    if (typeof widget?.value !== "string" || !widget.value || !takesNamesAt(node, widget.name)) continue;
    const menu = menuOf(widget, node);
    if (menu.includes(widget.value)) continue;
    const same = sameName(widget.value, menu);
    if (same !== undefined) widget.value = same;
  }
}

function takeNamesOfPage() {
  const nodes = allNodesOf(app.rootGraph ?? app.graph);
  if (someAreOurs(nodes)) nodes.forEach(takeNames);
}

let isDue = false;
/** Pasted nodes and those of an API export get their values right after they are created, in the same task. */
function takeNamesSoon() {
  if (isDue) return;
  isDue = true;
  queueMicrotask(() => {
    isDue = false;
    takeNamesOfPage();
  });
}

const words = new Map(); // of all menus of the nodes that take names, as the host defines them, by type

function wordsIn(inputs) {
  const menus = Object.values({ ...inputs?.required, ...inputs?.optional }).map((spec) =>
    Array.isArray(spec?.[0]) ? spec[0] : spec?.[1]?.options,
  );
  return menus.filter(Array.isArray).flat().filter((word) => typeof word === "string");
}

/**
 * A file offers models by their names, and frontend 1.27 calls missing whatever of them it does not find under that
 * name before any node is there: so the names are taken in the file itself as well.
 */
function takeOfferedNames({ type, properties, widgets_values: values }) {
  const offers = Array.isArray(properties?.models) ? properties.models : [];
  const menu = words.get(type) ?? [];
  for (const offer of offers) {
    const before = offer?.name;
    if (typeof before !== "string" || menu.includes(before)) continue;
    const same = sameName(before, menu);
    if (same === undefined) continue;
    offer.name = same;
    if (Array.isArray(values)) values.splice(0, values.length, ...values.map((value) => (value === before ? same : value)));
  }
}

app.registerExtension({
  name: "likeness.names",
  beforeRegisterNodeDef(nodeType, { name, input }) {
    if (takesNames(name)) words.set(name, wordsIn(input));
  },
  beforeConfigureGraph(graph) {
    const nodes = nodesOf(graph);
    if (someAreOurs(nodes)) nodes.forEach(takeOfferedNames);
  },
  nodeCreated: takeNamesSoon,
  // Before the editor looks for missing models, and before it notes what the workflow was like when it was opened.
  afterConfigureGraph: takeNamesOfPage,
  // R has been pressed: files have come, or have gone.
  refreshComboInNodes: takeNamesOfPage,
});
