// A workflow of another pack for faces that is not installed: the page that tells how the same is done here, a template
// that does it, and the settings of its nodes as ours have them, in a node that a button puts beside the old one.
//
// The host's own way, io.NodeReplace, is not used: it makes one node of one, and here a Person stands between a picture
// and what applies it; a prompt without one of the mapped optional inputs fails there with a KeyError.

import { app } from "../../scripts/app.js";
import { allNodesOf, made, nodesOf, templateTitles } from "./ours.js";
import { translated } from "./sentences.js";
import { hide, show } from "./toasts.js";

const MOVING = "moving"; // what the toast is about
const PAGES = "https://github.com/likeness-nodes/likeness/blob/main/";
const PACKS = [
  {
    name: "ComfyUI_InstantID",
    nodes: /^(InstantIDModelLoader|InstantIDFaceAnalysis|InstantIDAttentionPatch|ApplyInstantID\w*)$/,
    page: "docs/coming_from_comfyui_instantid.md",
    template: "start_portrait",
  },
  {
    name: "ComfyUI_IPAdapter_plus",
    nodes: /^IPAdapter(FaceID\w*|UnifiedLoaderFaceID|InsightFaceLoader)$/,
    page: "docs/coming_from_ipadapter_plus.md",
    template: "ip_adapter_without_insightface",
  },
  {
    name: "PuLID",
    nodes: /^(Apply)?Pulid(Flux)?(Advanced|ModelLoader|EvaClipLoader|InsightFaceLoader)?$/,
    page: "web/docs/LikenessApplyPuLID.md",
    template: "pulid_two_people",
  },
  {
    name: "PhotoMaker Plus",
    nodes: /^PhotoMaker(EncodePlus|LoaderPlus|Styles|InsightFaceLoader|LoraLoaderPlus)$/,
    page: "web/docs/LikenessApplyPhotoMaker.md",
    template: "photo_maker_two_people",
  },
];

const START_AND_END = { start_at: ["start_percent"], end_at: ["end_percent"] };
const OF_BOTH = {
  start_at: ["start_percent", "adapter_start_percent"],
  end_at: ["end_percent", "adapter_end_percent"],
};
const PHOTOS = { average: "mean", concat: "sequence" };
// By type of the old node: ours, the old widgets in the order in which a file has their values, what ours calls them,
// words that ours calls otherwise, and what the old node has inside of itself. A word that is in no table has nothing
// that is the same here.
const SETTINGS = {
  ApplyInstantID: {
    ours: "LikenessApplyInstantID",
    from: ["weight", "start_at", "end_at"],
    to: { weight: ["adapter_weight", "control_strength"], ...OF_BOTH },
    inside: { negative_noise: 0.35 },
  },
  ApplyInstantIDAdvanced: {
    ours: "LikenessApplyInstantID",
    from: ["ip_weight", "cn_strength", "start_at", "end_at", "noise", "combine_embeds"],
    to: {
      ip_weight: ["adapter_weight"], cn_strength: ["control_strength"], ...OF_BOTH,
      noise: ["negative_noise"], combine_embeds: ["photos"],
    },
    words: PHOTOS,
  },
  IPAdapterFaceID: {
    ours: "LikenessApplyIPAdapter",
    from: ["weight", "weight_faceidv2", "weight_type", "combine_embeds", "start_at", "end_at", "embeds_scaling"],
    to: { weight: ["weight"], weight_faceidv2: ["shortcut"], combine_embeds: ["photos"], ...START_AND_END },
    words: PHOTOS,
  },
  ApplyPulid: {
    ours: "LikenessApplyPuLID",
    from: ["method", "weight", "start_at", "end_at"],
    to: { method: ["projection"], weight: ["weight"], ...START_AND_END },
    words: { fidelity: "fidelity", style: "style", neutral: "off" },
  },
  ApplyPulidAdvanced: {
    ours: "LikenessApplyPuLID",
    from: ["weight", "projection", "fidelity", "noise", "start_at", "end_at"],
    to: { weight: ["weight"], projection: ["projection"], fidelity: ["zero_tokens"], ...START_AND_END },
    words: { ortho_v2: "fidelity", ortho: "style", none: "off" },
  },
  ApplyPulidFlux: {
    ours: "LikenessApplyPuLIDFlux",
    from: ["weight", "start_at", "end_at"],
    to: { weight: ["weight"], ...START_AND_END },
  },
  PhotoMakerEncodePlus: {
    ours: "LikenessApplyPhotoMaker",
    from: ["trigger_word", "text"],
    to: { trigger_word: ["trigger"], text: ["text"] },
  },
};

// Links of inputs that have another name here. The photo there is a Person here: `image` of ours is of keypoints.
const LINKS = { image: [], image_kps: ["image"], attn_mask: ["mask"] };

const closed = new Set(); // packs of which somebody has closed it

/** [name here, value] of each setting of an old node that ours has. values: as the file has them. named: by their names,
 * where the editor has them from a prompt of the API, in which values that are linked are left out. */
function settingsHere({ from, to, words = {}, inside = {} }, values, named) {
  const here = Object.entries(inside);
  for (const [place, name] of from.entries()) {
    const value = named ? named[name] : values[place];
    const word = typeof value === "string" && name !== "text" && name !== "trigger_word" ? words[value] : value;
    if (word !== undefined && word !== null) for (const one of to[name] ?? []) here.push([one, word]);
  }
  return here;
}

/** Our node for an old one with its settings, in no graph yet; nothing where there is none, or a file has no values. */
function nodeFor({ type, widgets_values: values, widgets_values_named: named }) {
  const row = SETTINGS[type];
  if (!row || !Array.isArray(values)) return undefined;
  const node = LiteGraph.createNode(row.ours);
  const set = [];
  for (const [name, value] of settingsHere(row, values, named)) {
    const widget = node?.widgets?.find((one) => one.name === name);
    if (typeof value !== typeof widget?.value) continue; // such as a number among the words
    const { min = -Infinity, max = Infinity } = widget.options ?? {};
    widget.value = typeof value === "number" ? Math.min(Math.max(value, min), max) : value;
    set.push(`${widget.label ?? widget.name} ${widget.value}`);
  }
  return set.length ? { node, set } : undefined;
}

/** Beside the old node and switched off as it is, with those of its links that ours has an input for. */
function putBeside(old, node) {
  const { graph } = old;
  const { to } = SETTINGS[old.type];
  node.pos = [old.pos[0], old.pos[1] + old.size[1] + 60];
  node.mode = old.mode;
  graph.add(node);
  for (const { name, link } of old.inputs ?? []) {
    const source = graph.getLink(link);
    for (const here of source ? (to[name] ?? LINKS[name] ?? [name]) : []) connect(source, node, here);
  }
  app.canvas.setDirty(true, true);
}

/** To an input of this name, unless there is none of the link's type, or it has a menu: the words of ours are others. */
function connect({ origin_id: origin, origin_slot: slot }, node, name) {
  const { graph } = node;
  const place = node.inputs.findIndex((input) => input.name === name);
  if (place < 0 || node.widgets.some((widget) => widget.name === name && widget.type === "combo")) return;
  const isOfTheBox = origin === graph.inputNode?.id; // what comes into a box is no output of a node
  const source = isOfTheBox ? graph.inputs[slot] : graph.getNodeById(origin)?.outputs[slot];
  if (!source || !LiteGraph.isValidConnection(source.type, node.inputs[place].type)) return;
  if (isOfTheBox) source.connect(node.inputs[place], node);
  else graph.getNodeById(origin).connect(slot, node, place);
}

function settingsOf(pack) {
  const parts = [];
  for (const old of new Set(allNodesOf(app.rootGraph ?? app.graph))) { // once, however often its box is used
    const ready = pack.nodes.test(old.type) && nodeFor(old.serialize());
    if (!ready) continue;
    const { node, set } = ready;
    const title = [old.graph.name, node.title].filter(Boolean).join(" > "); // the name of the box, if it is in one
    const line = made("div", translated(`Your settings in ${title}: ${set.join(", ")}`));
    const button = made("button", translated("Put this node beside the old one"));
    button.style.cssText = "margin: 4px 0; padding: 4px 12px; border-radius: 6px; pointer-events: auto";
    button.onclick = () => {
      putBeside(old, node);
      button.remove();
    };
    parts.push(line, button);
  }
  return parts;
}

async function tell(pack) {
  const { name, page, template } = pack;
  const title = new Map(await templateTitles()).get(template) ?? template;
  const lines = [
    `What they do, the nodes of Likeness do too: ${PAGES}${page}`,
    `To begin with, there is the template “${title}”.`,
  ];
  const text = `${lines.map((line) => translated(line)).join("\n")}\n`;
  const heading = translated(`Nodes of ${name} are not installed`);
  show(MOVING, "info", heading, [text, ...settingsOf(pack)], true, () => closed.add(name));
}

app.registerExtension({
  name: "likeness.moving",
  afterConfigureGraph() {
    const saved = (app.rootGraph ?? app.graph).serialize();
    const groupNodes = Object.values(saved.extra?.groupNodes ?? {}); // older than subgraphs
    const types = [saved, ...groupNodes].flatMap(nodesOf).map(({ type }) => type);
    const missing = types.filter((type) => !LiteGraph.registered_node_types[type]);
    const pack = PACKS.find(({ name, nodes }) => !closed.has(name) && missing.some((type) => nodes.test(type)));
    if (pack) tell(pack);
    else hide(MOVING);
  },
});
