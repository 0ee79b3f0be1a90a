// Offers the new node for each of ours that another has replaced, where the editor can replace nodes: it then lists
// them as replaceable, as it does nodes that are missing, and carries links and values over. Old nodes run as before.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isOurs } from "./ours.js";

const replacements = async () => {
  const answer = await api.fetchApi("/node_replacements");
  return answer.ok ? answer.json() : {}; // ComfyUI 0.3.64 has none
};
const asked = replacements().catch(() => ({}));

/** [node, its id as the host knows it] of a graph and of the boxes in it. */
function* nodesOf(graph, inside = "") {
  for (const node of graph.nodes) {
    yield [node, `${inside}${node.id}`];
    if (node.subgraph) yield* nodesOf(node.subgraph, `${inside}${node.id}:`);
  }
}

app.registerExtension({
  name: "likeness.replaced",
  async afterConfigureGraph(missing) {
    const known = await asked;
    for (const [node, nodeId] of nodesOf(app.rootGraph ?? app.graph)) {
      const [replacement] = (isOurs(node.type) && known[node.type]) || [];
      if (!replacement) continue;
      // What the editor reads of a missing node, and only these have.
      Object.defineProperty(node, "last_serialization", { configurable: true, get: () => node.serialize() });
      missing.push({ type: node.type, nodeId, cnrId: "likeness", isReplaceable: true, replacement });
    }
  },
});
