// Puts links inside of our boxes where they belong in files that the frontend of ComfyUI 0.3.64 (1.27) has exported or
// written into pictures, before the graph is opened. Boxes of other packs are not touched.
//
// That frontend leaves values that have no link out of what it exports, and numbers the inputs at which links end
// without them. It makes the values of a box while it still has these numbers: then a box shows a value of another kind,
// and one that belongs to a socket moves all values by one.

import { app } from "../../scripts/app.js";
import { ourBoxesOf } from "./ours.js";

/** Names of the inputs of a saved node, in the order in which the editor will have them. */
function inputNames(node) {
  const known = (LiteGraph.createNode(node.type)?.inputs ?? []).map(({ name }) => name);
  const others = node.inputs.map(({ name }) => name).filter((name) => !known.includes(name));
  return [...known, ...others];
}

/** Numbers the inputs at which links inside of a box end, as the editor will have them. */
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

app.registerExtension({
  name: "likeness.box_links",
  beforeConfigureGraph(graph) {
    new Set(ourBoxesOf(graph).map(({ subgraph }) => subgraph)).forEach(renumberLinks);
  },
});
