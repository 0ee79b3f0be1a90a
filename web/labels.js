// In Chinese the graphs of our templates read Chinese: their labels, hints, titles and notes, which frontends show as
// they stand in the file; blueprints when they are put down, and inputs and lists of our nodes. A file that is saved
// keeps the texts; what is sent is the same. In other languages nothing is asked for and every graph stays as it is.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { allNodesOf, graphsOf, isOurs, nodesOf, settingOf, someAreOurs } from "./ours.js";

// Of locales/zh/main.json, which the host gives out with all other translations: by their English, notes by their lines.
const TABLES = ["likenessLabels", "likenessNotes", "likenessOptions"];

const isChinese = () => settingOf("Comfy.Locale") === "zh";

let [texts, lines, options] = TABLES.map(() => new Map());

async function readTables() {
  const ours = (await api.getCustomNodesI18n()).zh;
  [texts, lines, options] = TABLES.map((name) => new Map(Object.entries(ours?.[name] ?? {})));
}

const slotsOf = ({ inputs, outputs }) => [...(inputs ?? []), ...(outputs ?? [])];

/** Words that are the table's to the letter, nobody's own; and only what is read: names and ids are for links. */
function translate(graph) {
  const put = (shown, key, english = shown?.[key]) => {
    if (texts.has(english)) shown[key] = texts.get(english);
  };
  const [nodes, [, ...subgraphs]] = [nodesOf(graph), graphsOf(graph)];
  const groups = graphsOf(graph).flatMap((part) => part.groups ?? []);
  for (const subgraph of subgraphs) put(subgraph, "name");
  for (const titled of [...groups, ...nodes]) put(titled, "title");
  for (const slot of nodes.flatMap(slotsOf)) put(slot, "label");
  // Frontends have no words of their own for the slots of a subgraph: without a label the name is shown.
  const placed = nodes.filter((node) => subgraphs.some(({ id }) => id === node.type));
  for (const slot of [...subgraphs, ...placed].flatMap(slotsOf)) put(slot, "label", slot.label ?? slot.name);
  for (const [, , shown] of graph.extra?.linearData?.inputs ?? []) put(shown, "description"); // in the app
}

/** Line by line, so that what somebody has written into a note stays as it is. */
function translateNote({ widgets_values: values }) {
  const text = values?.[0];
  if (typeof text === "string") values[0] = text.split("\n").map((line) => lines.get(line) ?? line).join("\n");
}

function translateOpened(graph) {
  const nodes = nodesOf(graph);
  if (!someAreOurs(nodes)) return;
  translate(graph);
  nodes.filter(({ type }) => type === "MarkdownNote").forEach(translateNote);
}

/** What a blueprint has put down; the names of its slots in the editor's way, so that every box is drawn anew. */
function translateBlueprint(subgraph) {
  if (!someAreOurs(subgraph.nodes)) return;
  const nodes = app.canvas.graph.nodes.filter(({ type }) => type === subgraph.id);
  const inChinese = ({ name, label }) => texts.get(label ?? name);
  for (const slot of subgraph.inputs.filter(inChinese)) subgraph.renameInput(slot, inChinese(slot));
  for (const slot of subgraph.outputs.filter(inChinese)) subgraph.renameOutput(slot, inChinese(slot));
  translate({ nodes, definitions: { subgraphs: [subgraph] } });
  app.canvas.setDirty(true, true);
}

/** The words of lists, with the English behind them, by which help pages and messages call them. */
function translateOptions({ widgets }) {
  for (const list of widgets?.filter(({ type }) => type === "combo") ?? []) {
    const before = list.options.getOptionLabel; // of check_files.js
    list.options.getOptionLabel = (word) => {
      if (options.has(word)) return `${options.get(word)} ${word}`;
      return before?.(word) ?? word ?? "";
    };
  }
}

/** Frontend 1.49 labels inputs of a new node, and those that a file does not have, with their English names. */
function translateAdded({ inputs, constructor: { nodeData } }) {
  const known = { ...nodeData?.input?.required, ...nodeData?.input?.optional };
  for (const slot of inputs) if (slot.label === known[slot.name]?.[1]?.display_name) slot.label = undefined;
}

app.registerExtension({
  name: "likeness.labels",
  async setup() {
    if (!isChinese()) return;
    await readTables();
    // When the editor is done with it.
    app.graph.events?.addEventListener("subgraph-created", ({ detail }) =>
      setTimeout(() => translateBlueprint(detail.subgraph)),
    );
  },
  beforeConfigureGraph(graph) {
    if (isChinese()) translateOpened(graph);
  },
  afterConfigureGraph() {
    if (!isChinese()) return;
    allNodesOf(app.rootGraph ?? app.graph)
      .filter(({ comfyClass }) => isOurs(comfyClass))
      .forEach(translateAdded);
  },
  nodeCreated(node) {
    if (!isChinese() || !isOurs(node.comfyClass)) return;
    translateOptions(node);
    translateAdded(node);
  },
});
