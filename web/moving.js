// A workflow of another pack for faces that is not installed: the page that tells how the same is done here, and a template
// that does it.
//
// No node is put in place of an old one, by us or by the host's io.NodeReplace: here a Person stands between a picture and
// what applies it, and some settings have nothing that is the same. The page names each of them.

import { app } from "../../scripts/app.js";
import { nodesOf, templateTitles } from "./ours.js";
import { translated } from "./sentences.js";
import { hide, show } from "./toasts.js";

const MOVING = "moving"; // what the toast is about
const PAGES = "https://github.com/likeness-nodes/likeness/blob/main/docs/";
const PACKS = [
  {
    name: "ComfyUI_InstantID",
    nodes: /^(InstantIDModelLoader|InstantIDFaceAnalysis|InstantIDAttentionPatch|ApplyInstantID\w*)$/,
    page: "coming_from_comfyui_instantid.md",
    template: "start_portrait",
  },
  {
    name: "ComfyUI_IPAdapter_plus",
    nodes: /^IPAdapter(FaceID\w*|UnifiedLoaderFaceID|InsightFaceLoader)$/,
    page: "coming_from_ipadapter_plus.md",
    template: "ip_adapter_without_insightface",
  },
  {
    name: "ComfyUI_IPAdapter_plus",
    nodes: /^IPAdapter(Advanced|UnifiedLoader|ModelLoader)?$/,
    values: /(plus|full)[ -_]face/i, // in the name of a file, or in that of a preset
    page: "coming_from_ipadapter_plus.md#plus-face",
    template: "ip_adapter_without_insightface",
  },
  {
    name: "ReActor",
    nodes: /^ReActor(FaceSwap\w*|RestoreFace\w*|(Load|Save|Build)FaceModel|FaceBoost)$/,
    page: "coming_from_reactor.md",
    template: "start_person_in_photo",
  },
  {
    name: "PuLID",
    nodes: /^(Apply)?Pulid(Flux)?(Advanced|ModelLoader|EvaClipLoader|InsightFaceLoader)?$/,
    page: "coming_from_ipadapter_plus.md#pulid",
    template: "pulid_two_people",
  },
];

const closed = new Set(); // packs of which somebody has closed it

const isOf = (/** @type {any} */ { nodes, values }, { type, widgets_values: set }) =>
  nodes.test(type) && (!values || values.test(JSON.stringify(set ?? "")));

async function tell({ name, page, template }) {
  const title = new Map(await templateTitles()).get(template) ?? template;
  const lines = [
    `What they do, the nodes of Likeness do too: ${PAGES}${page}`,
    `To begin with, there is the template “${title}”.`,
  ];
  const text = lines.map((line) => translated(line)).join("\n");
  show(MOVING, "info", translated(`Nodes of ${name} are not installed`), text, true, () => closed.add(name));
}

app.registerExtension({
  name: "likeness.moving",
  afterConfigureGraph() {
    const saved = (app.rootGraph ?? app.graph).serialize();
    const groupNodes = Object.values(saved.extra?.groupNodes ?? {}); // older than subgraphs
    const all = [saved, ...groupNodes].flatMap(nodesOf);
    const missing = all.filter(({ type }) => !LiteGraph.registered_node_types[type]);
    const pack = PACKS.find((one) => !closed.has(one.name) && missing.some((node) => isOf(one, node)));
    if (pack) tell(pack);
    else hide(MOVING);
  },
});
