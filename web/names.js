// A menu that has the name of a file in another system's spelling takes it: Windows writes folder\file, others
// folder/file, a Mac writes letters and their accents apart. A workflow that was saved on one system so runs on another.
// This is done for the menus of all nodes, because the names of our templates stand in ComfyUI's own loaders.
// core/names.py does the same where the host, and not the page, reads a name.

import { app } from "../../scripts/app.js";
import { nodesOf } from "./ours.js";

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
export function sameName(name, menu) {
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

function takeNames(node) {
  for (const widget of node.widgets ?? []) {
    if (typeof widget?.value !== "string" || !widget.value) continue;
    const menu = menuOf(widget, node);
    if (menu.includes(widget.value)) continue;
    const same = sameName(widget.value, menu);
    if (same !== undefined) widget.value = same;
  }
}

/** All nodes of a graph, those inside of boxes before the boxes, which show values of theirs. */
function takeAllNames(graph) {
  for (const node of graph?.nodes ?? []) {
    if (node.subgraph) takeAllNames(node.subgraph);
    takeNames(node);
  }
}

const definitions = new Map(); // of the host's nodes, by their types

/** All words of all menus of a class of nodes, as the host defines them. */
function wordsOf(type) {
  const { required, optional } = definitions.get(type)?.input ?? {};
  const menus = Object.values({ ...required, ...optional }).map((spec) =>
    Array.isArray(spec?.[0]) ? spec[0] : spec?.[1]?.options,
  );
  return menus.filter(Array.isArray).flat().filter((word) => typeof word === "string");
}

/**
 * A file offers models by their names, and frontend 1.27 calls missing whatever of them it does not find under that
 * name before any node is there: so the names are taken in the file itself as well.
 */
function takeOfferedNames(node) {
  const offers = Array.isArray(node.properties?.models) ? node.properties.models : [];
  const words = offers.length ? wordsOf(node.type) : [];
  for (const offer of offers) {
    const before = offer?.name;
    if (typeof before !== "string" || words.includes(before)) continue;
    const same = sameName(before, words);
    if (same === undefined) continue;
    offer.name = same;
    if (Array.isArray(node.widgets_values)) {
      node.widgets_values = node.widgets_values.map((value) => (value === before ? same : value));
    }
  }
}

const takeNamesOfPage = () => takeAllNames(app.rootGraph ?? app.graph);

app.registerExtension({
  name: "likeness.names",
  beforeRegisterNodeDef(nodeType, nodeData) {
    definitions.set(nodeData.name, nodeData);
  },
  beforeConfigureGraph(graph) {
    nodesOf(graph).forEach(takeOfferedNames);
  },
  nodeCreated(node) {
    // Pasted nodes and those of an API export get their values right after they are created, in the same task.
    queueMicrotask(() => takeNames(node));
  },
  // Before the editor looks for missing models, and before it notes what the workflow was like when it was opened.
  afterConfigureGraph: takeNamesOfPage,
  // R has been pressed: files have come, or have gone.
  refreshComboInNodes: takeNamesOfPage,
});
