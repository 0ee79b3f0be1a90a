// What older versions have saved is mended before a graph is opened, in our nodes and boxes alone.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { nodesOf, ourBoxesOf } from "./ours.js";

// By their places among the values of a Layout from Boxes that was saved when boxes were drawn on it.
const [BOXES_FROM, TEXT, DRAWN] = [5, 6, 7];

const lineOf = ({ x, y, width, height, metadata }) => {
  const name = metadata?.desc ? `${metadata.desc}: ` : "";
  return `${name}${[x, y, width, height].join(", ")}`;
};

/** Drawn boxes counted before the text: they become its lines. */
function writeDrawnBoxes({ type, widgets_values: values }) {
  if (type !== "LikenessLayoutFromBoxes" || values?.[BOXES_FROM] !== "drawn") return;
  const drawn = values[DRAWN];
  if (Array.isArray(drawn) && drawn.length) values[TEXT] = drawn.map(lineOf).join("\n");
}

/** What the menus of a node offer today. */
function offered(type) {
  const { required, optional } = LiteGraph.registered_node_types[type]?.nodeData?.input ?? {};
  const inputs = Object.values({ ...required, ...optional });
  return inputs.flatMap(([kind, settings]) => (Array.isArray(kind) ? kind : (settings?.options ?? [])));
}

/** Words of menus that went become those that mean the same. Inputs that went stay in the file: the host reads them. A
 * word that another menu of the node offers stays: whose value it is a file does not say. */
function writeWordsOfToday({ type, widgets_values: values }, earlier) {
  for (const words of Object.values(earlier[type]?.words ?? {})) {
    for (const [place, value] of Object.entries(values ?? {})) {
      if (Object.hasOwn(words, value) && !offered(type).includes(value)) values[place] = words[value];
    }
  }
}

/** What nodes of earlier versions had; nothing where it cannot be had. */
const asked = api.fetchApi("/likeness/earlier");
const earlierVersions = asked.then((answer) => (answer.ok ? answer.json() : {})).catch(() => ({}));

/** Frontend 1.37 has saved the note of a box among the fields that the box shows, as the last. */
function forgetNote({ properties }) {
  const { proxyWidgets: shown } = properties;
  if (Array.isArray(shown) && shown.at(-1)?.[1] === "likeness_note") shown.pop();
}

/** Frontends from 1.47 on keep what a box had when such a file was opened first, and put that over what it was given
 * since, at every opening. */
function forgetFirstValues({ properties }) {
  const { proxyWidgetErrorQuarantine: kept } = properties;
  if (Array.isArray(kept)) properties.proxyWidgetErrorQuarantine = kept.filter((one) => one?.originalEntry?.[0] !== "-1");
}

app.registerExtension({
  name: "likeness.old_files",
  async beforeConfigureGraph(graph) {
    const earlier = await earlierVersions;
    for (const node of nodesOf(graph)) writeWordsOfToday(node, earlier);
    nodesOf(graph).forEach(writeDrawnBoxes);
    const boxes = ourBoxesOf(graph).map(({ box }) => box);
    boxes.forEach(forgetNote);
    boxes.forEach(forgetFirstValues);
  },
});
