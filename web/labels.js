// In Chinese the graphs of our templates read Chinese: their labels, hints and titles, which frontends show as they
// stand in the file. A file that is saved then keeps them; what is sent is the same. In other languages nothing is
// asked for and every graph stays as it is.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const LANGUAGE = "zh";
const TABLE = "likenessLabels"; // in locales/zh/main.json: the host gives it out with all other translations

let reading;

/** Our texts by their English, asked for once and not before a graph needs them. */
function readTexts() {
  reading ??= api.getCustomNodesI18n().then((all) => new Map(Object.entries(all[LANGUAGE]?.[TABLE] ?? {})));
  return reading;
}

const subgraphsOf = (graph) => graph.definitions?.subgraphs ?? [];
const slotsOf = ({ inputs, outputs }) => [...(inputs ?? []), ...(outputs ?? [])];
const isOurs = (node) => String(node.type).startsWith("Likeness");

/** Words that are the table's to the letter, nobody's own; and only what is read: names and ids are for links. */
function translate(graph, texts) {
  const put = (shown, key, english = shown?.[key]) => {
    if (texts.has(english)) shown[key] = texts.get(english);
  };
  const subgraphs = subgraphsOf(graph);
  const nodes = [graph, ...subgraphs].flatMap((part) => part.nodes ?? []);
  const groups = [graph, ...subgraphs].flatMap((part) => part.groups ?? []);
  for (const subgraph of subgraphs) put(subgraph, "name");
  for (const titled of [...groups, ...nodes]) put(titled, "title");
  for (const slot of nodes.flatMap(slotsOf)) put(slot, "label");
  // Frontends have no words of their own for the slots of a subgraph: without a label the name is shown.
  const placed = nodes.filter((node) => subgraphs.some(({ id }) => id === node.type));
  for (const slot of [...subgraphs, ...placed].flatMap(slotsOf)) put(slot, "label", slot.label ?? slot.name);
  for (const [, , shown] of graph.extra?.linearData?.inputs ?? []) put(shown, "description"); // in the app
}

app.registerExtension({
  name: "likeness.labels",
  async beforeConfigureGraph(graph) {
    if (app.extensionManager.setting.get("Comfy.Locale") !== LANGUAGE) return;
    const parts = [graph, ...subgraphsOf(graph)];
    if (parts.some(({ nodes }) => nodes?.some(isOurs))) translate(graph, await readTexts());
  },
});
