// Repairs workflows that were saved from our first templates. Those named the values of a box, ["-1", name], in
// `proxyWidgets`. Newer frontends do not find such a name: they note the first value under
// `proxyWidgetErrorQuarantine` and put it back at every load, whatever has been typed and saved since.
// And puts links inside of boxes where they belong in files that ComfyUI 0.3.64 has exported or written into pictures.
// Boxes of other packs are not touched.

import { app } from "../../scripts/app.js";
import { isChinese, nodesOf, someAreOurs } from "./ours.js";
import { show } from "./toasts.js";

const REPAIRED = "likeness.saved_boxes";
const [NAMES, FIRST] = ["proxyWidgets", "proxyWidgetErrorQuarantine"];

const listOf = (box, property) => (Array.isArray(box.properties[property]) ? box.properties[property] : []);
const isValue = (entry) => Array.isArray(entry) && entry[0] === "-1";
const isFirst = (entry) => isValue(entry?.originalEntry);
const isPreview = (entry) => Array.isArray(entry) && String(entry[1]).startsWith("$$");
const valuesOf = (box) => (Array.isArray(box.inputs) ? box.inputs.filter((input) => input?.widget) : []);

/** Without names of values; the values in the order of the inputs, in which frontends read them without names. */
function unname(box) {
  const named = listOf(box, NAMES);
  const others = named.filter((entry) => !isValue(entry));
  if (!others.every(isPreview)) return; // a value that somebody has put onto the box: its place would be another
  if (!Array.isArray(box.widgets_values) || box.widgets_values.length < named.length - others.length) return;
  const values = new Map(named.map(([, name], place) => [name, box.widgets_values[place]]));
  if (values.size < named.length || !valuesOf(box).every(({ name }) => values.has(name))) return;
  box.widgets_values = valuesOf(box).map(({ name }) => values.get(name));
  box.properties[NAMES] = others;
}

/** Without first values. A file has what was last shown as `widgets_values`: labels of what differs from the first. */
function release(box) {
  const firsts = listOf(box, FIRST);
  const before = new Map(firsts.filter(isFirst).map(({ originalEntry, hostValue }) => [originalEntry[1], hostValue]));
  box.properties[FIRST] = firsts.filter((entry) => !isFirst(entry));
  const differs = ({ name }, place) => before.has(name) && before.get(name) !== box.widgets_values?.[place];
  return valuesOf(box)
    .filter(differs)
    .map(({ label, name }) => label ?? name);
}

/** Names of the inputs of a saved node, in the order in which the editor will have them. */
function inputNames(node) {
  const known = (LiteGraph.createNode(node.type)?.inputs ?? []).map(({ name }) => name);
  const others = node.inputs.map(({ name }) => name).filter((name) => !known.includes(name));
  return [...known, ...others];
}

/** Numbers the inputs at which links inside of a box end, as the editor will have them.
 *
 * An editor leaves the values that have no link out of what it exports and writes into pictures, and counts without
 * them. Frontend 1.27.10 makes the values of a box while it still has this count: then a box shows another kind of
 * value, and one that belongs to a socket moves all values by one.
 */
function renumberLinks(subgraph) {
  if (!Array.isArray(subgraph.links) || !Array.isArray(subgraph.nodes)) return;
  const links = new Map(subgraph.links.map((link) => [link?.id, link]));
  for (const node of subgraph.nodes) {
    if (!Array.isArray(node?.inputs)) continue;
    const linked = node.inputs.filter((input) => links.get(input?.link)?.target_id === node.id);
    if (!linked.length) continue;
    const names = inputNames(node);
    for (const { name, link } of linked) links.get(link).target_slot = names.indexOf(name);
  }
}

/** Boxes that had first values: [title, labels of what was changed]. */
function repair(graph) {
  const subgraphs = new Map((graph.definitions?.subgraphs ?? []).map((subgraph) => [subgraph.id, subgraph]));
  const isOurBox = ({ type, properties }) =>
    properties && subgraphs.has(type) && (properties.cnr_id === "likeness" || someAreOurs(subgraphs.get(type).nodes));
  const boxes = nodesOf(graph).filter(isOurBox);
  new Set(boxes.map(({ type }) => subgraphs.get(type))).forEach(renumberLinks);
  boxes.filter((box) => listOf(box, NAMES).some(isValue)).forEach(unname);
  const held = boxes.filter((box) => listOf(box, FIRST).some(isFirst));
  return held.map((box) => [box.title ?? subgraphs.get(box.type).name, release(box)]);
}

function tell(repaired) {
  const boxes = repaired.map(([title, labels]) => (labels.length ? `${title}: ${labels.join(", ")}` : title));
  const [summary, detail] = isChinese()
    ? ["已修复保存的值", `旧版模板可能显示一个值而发送另一个。现在显示的就是发送的。请检查后保存：${boxes.join("；")}。`]
    : [
        "Saved values repaired",
        "An earlier version of this template could show one value and send another. Now it sends what it shows. " +
          `Check, then save: ${boxes.join("; ")}.`,
      ];
  show(REPAIRED, "warn", summary, detail);
}

let repaired = [];

app.registerExtension({
  name: "likeness.saved_boxes",
  beforeConfigureGraph(graph) {
    repaired = repair(graph);
  },
  afterConfigureGraph() {
    if (repaired.length) tell(repaired); // after the toasts of the graph before are gone
    repaired = [];
  },
});
