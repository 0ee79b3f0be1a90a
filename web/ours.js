// What the other scripts here share: which nodes are ours, how our templates are called, what is set, and what
// is shown beside the nodes.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

// The folder that the pack was put into: .../extensions/<folder>/ours.js
export const PACK = decodeURIComponent(new URL(".", import.meta.url).pathname.split("/").at(-2) ?? "");

export const isOurs = (type) => String(type).startsWith("Likeness");
export const someAreOurs = (nodes) => Array.isArray(nodes) && nodes.some((node) => isOurs(node?.type));

/** A saved graph and those inside of its boxes. */
export const graphsOf = (saved) => [saved, ...(saved.definitions?.subgraphs ?? [])];
export const nodesOf = (saved) => graphsOf(saved).flatMap(({ nodes }) => nodes ?? []);

/** Of a saved graph each box of ours, with the subgraph that is inside of it. */
export function ourBoxesOf(saved) {
  const subgraphs = new Map((saved.definitions?.subgraphs ?? []).map((subgraph) => [subgraph.id, subgraph]));
  const boxes = nodesOf(saved).filter(({ type, properties }) => properties && subgraphs.has(type));
  return boxes
    .map((box) => ({ box, subgraph: subgraphs.get(box.type) }))
    .filter(({ box, subgraph }) => box.properties.cnr_id === "likeness" || someAreOurs(subgraph.nodes));
}

/** All nodes of a graph of the editor, those inside of boxes before the boxes, which show values of theirs. */
export const allNodesOf = (graph) =>
  (graph?.nodes ?? []).flatMap((node) => (node.subgraph ? [...allNodesOf(node.subgraph), node] : [node]));

export const settingOf = (name) => app.extensionManager.setting.get(name);

/** The workflow whose tab is open, by what lies behind it: Vue hands out different objects for one workflow. */
export function activeWorkflow() {
  const workflow = app.extensionManager.workflow?.activeWorkflow;
  return workflow?.__v_raw ?? workflow;
}

const kept = new WeakMap(); // workflow -> Map: by key
/** What is kept of a workflow that is open, as long as it is: by a key, made where it is not there. The ids of graphs do
 * not tell workflows apart: one that was opened from a prompt has another after each undo. */
export function keptOf(workflow, key, make) {
  const whose = workflow ?? app;
  if (!kept.has(whose)) kept.set(whose, new Map());
  const all = kept.get(whose);
  if (!all.has(key)) all.set(key, make());
  return all.get(key);
}

const isApp = ({ activeMode, initialMode }) => (activeMode ?? initialMode) === "app";
export const inApp = () => isApp(activeWorkflow() ?? {});

/** [file's name, title] of each of our templates, in the gallery's order. None where the tables cannot be had: then a
 * template is called by the name of its file. */
export async function templateTitles(language = settingOf("Comfy.Locale")) {
  try {
    const texts = await api.getCustomNodesI18n();
    const titlesIn = (known) => texts[known]?.templateWorkflows?.template?.likeness;
    return Object.entries(titlesIn(language) ?? titlesIn("en") ?? {});
  } catch {
    return [];
  }
}

/** The nodes of an id as the host knows it, "12" or "5:12" inside of subgraphs: the boxes around it, then itself. */
export function find(id) {
  let graph = app.rootGraph ?? app.graph;
  const nodes = [];
  for (const number of String(id).split(":")) {
    nodes.push(graph?.nodes.find((one) => String(one.id) === number));
    graph = nodes.at(-1)?.subgraph;
  }
  return nodes.every(Boolean) ? nodes : [];
}

export const rootGraph = () => app.rootGraph ?? app.graph;

/** The boxes around a graph, the outermost first; of a graph of several boxes those of the first. */
export function boxesAround(graph, from = rootGraph()) {
  for (const box of graph === from ? [] : from.nodes.filter(({ subgraph }) => subgraph)) {
    if (box.subgraph === graph) return [box];
    const deeper = boxesAround(graph, box.subgraph);
    if (deeper.length) return [box, ...deeper];
  }
  return [];
}

const FROM_OUTSIDE = "-10"; // the origin of a link that begins at an input of its box, a number in some frontends

/** The node that makes what comes by a link, behind the boxes that it is in; none where the link ends in the open. around:
 * the boxes of the graph that the link is in, the outermost first. */
export function sourceOf(graph, linkId, around) {
  const { origin_id: origin, origin_slot: slotNumber } = graph?.getLink(linkId) ?? {};
  if (origin === undefined) return [];
  if (String(origin) === FROM_OUTSIDE) {
    const box = around.at(-1);
    const slot = graph.inputs?.find(({ linkIds }) => linkIds.includes(linkId));
    const input = box?.inputs.find(({ name }) => name === slot?.name);
    return input ? sourceOf(box.graph, input.link, around.slice(0, -1)) : [];
  }
  const node = graph.getNodeById(origin);
  if (!node?.subgraph) return node ? [...around, node] : [];
  return sourceOf(node.subgraph, node.subgraph.outputs[slotNumber]?.linkIds[0], [...around, node]);
}

/** An element with a text, which is never read as HTML, or with others in it. */
export function made(kind, content, style = "") {
  const element = document.createElement(kind);
  element.append(...[content].flat());
  element.style.cssText = style;
  return element;
}

/** A text whose addresses are links, up to the punctuation behind them. */
export const linked = (text) =>
  text.split(/(https:\/\/[!-~]*[\w/])/).map((part, place) => (place % 2 ? link(part) : part));

export function link(url) {
  const anchor = made("a", url, "color: #56b4e9; text-decoration: underline; overflow-wrap: anywhere; pointer-events: auto");
  anchor.href = url;
  anchor.target = "_blank";
  anchor.rel = "noopener noreferrer";
  return anchor;
}
