// What the nodes look like in the editor: colours of our sockets, and lists no longer than their people. Without this file
// every graph opens and runs alike.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

// One lightness, so that they stand out from dark and from light nodes alike (a contrast of 3.5 to both).
const COLOURS = {
  LIKENESS_REPORT: "#e45580",
  LIKENESS_FACE_MODEL: "#e55c30",
  LIKENESS_PART_FEATURES: "#bb7a18",
  LIKENESS_PARTS: "#968a06",
  LIKENESS_LAYOUT: "#4b9a05",
  LIKENESS_CROPS: "#0e9d50",
  LIKENESS_PARTS2WHOLE: "#109a77",
  LIKENESS_FACES: "#19969e",
  LIKENESS_ADAPTER: "#7c7af2",
  LIKENESS_CAST: "#5981f6",
  LIKENESS_PERSON: "#cc5ebf",
};

/** In a table of colours by type, under a type of ours alone; a palette that has a colour of its own for it wins.
 * Frontends take no colours from packs, and what is set on a slot (color_on) is saved with the graph and not for links. */
function addColour(table, type, ours) {
  let theirs = table[type];
  // Every change of the palette empties the types that it does not know.
  Object.defineProperty(table, type, {
    get: () => theirs || ours,
    set: (colour) => {
      theirs = colour;
    },
    enumerable: true,
    configurable: true,
  });
}

function addColours() {
  const onCanvas = {
    ...COLOURS,
    "LIKENESS_CAST,LIKENESS_PERSON": COLOURS.LIKENESS_CAST,
  };
  for (const [type, colour] of Object.entries(onCanvas)) {
    addColour(app.canvas.default_connection_color_byType, type, colour);
    addColour(app.canvas.constructor.link_type_colors, type, colour);
  }
  // For Vue nodes: what a variable is that no palette sets. Older browsers have no such thing and show these grey.
  for (const [type, colour] of Object.entries(COLOURS)) {
    const variable = { name: `--color-datatype-${type}`, syntax: "*", inherits: true, initialValue: colour };
    CSS.registerProperty?.(variable);
  }
}

// How the inputs of a list are called: the links that bring people, and the widget of each.
const LISTS = {
  LikenessCast: { link: "person_", widget: "weight_" },
  LikenessCastFromPhotos: { link: "photo_", widget: "person_" },
};
const namesIn = (cast) => LISTS[cast.comfyClass];
const peopleOf = (cast) => cast.inputs.filter((input) => input.name.startsWith(namesIn(cast).link));
const widgetNameOf = (cast, person) => person.name.replace(namesIn(cast).link, namesIn(cast).widget);
const settingOf = (cast, person) => cast.widgets?.find((widget) => widget.name === widgetNameOf(cast, person));
const THE_PHOTO = "the photo"; // what a menu beside a photo says where nobody who is kept is chosen

/** Out of sight in its place: an input that says it belongs to a widget gets no line of its own. */
function hide(input) {
  input.widget = { name: input.name };
  input.isValidTarget = () => false;
}

function show(input) {
  delete input.widget;
  delete input.isValidTarget;
}

/** Everybody who is connected or chosen and the first free place, each with their widget. */
function arrangePeople(cast) {
  const linked = (name) => cast.inputs.some((input, slot) => input.name === name && cast.isInputConnected(slot));
  const chosen = (person) =>
    cast.comfyClass === "LikenessCastFromPhotos" && (settingOf(cast, person)?.value ?? THE_PHOTO) !== THE_PHOTO;
  const isFree = (person) => !linked(person.name) && !linked(widgetNameOf(cast, person)) && !chosen(person);
  const people = peopleOf(cast);
  people.forEach(show);
  const hidden = people.filter(isFree).slice(1);
  hidden.forEach(hide);
  for (const person of people) {
    const widget = settingOf(cast, person);
    if (widget) widget.hidden = hidden.includes(person);
  }
  cast.inputs.push(cast.inputs.pop()); // Vue nodes are drawn anew for a change of the list only
  const needed = cast.computeSize();
  if (cast.size[1] < needed[1]) cast.setSize([cast.size[0], needed[1]]);
  cast.setDirtyCanvas(true, true);
}

/** Calls `first` with the node before its own `name`. */
function before(prototype, name, first) {
  const then = prototype[name];
  prototype[name] = function (...given) {
    first(this);
    return then?.apply(this, given);
  };
}

/** Calls `also` with the node after its own `name`, if any. */
function after(prototype, name, also) {
  const own = prototype[name];
  prototype[name] = function (...given) {
    const answer = own?.apply(this, given);
    also(this, ...given);
    return answer;
  };
}

function extendCast(prototype) {
  const opened = new WeakSet(); // from a file or copied: these keep their size, although they begin with all inputs
  // When a graph is loaded or pasted its links come after its nodes.
  const arrangeLater = (cast) => queueMicrotask(() => cast.graph && arrangePeople(cast));
  after(prototype, "onConnectionsChange", arrangeLater);
  // Whenever something is pasted the editor takes away every input whose widget it does not find.
  before(prototype, "onGraphConfigured", (cast) => peopleOf(cast).forEach(show));
  after(prototype, "onGraphConfigured", arrangeLater);
  after(prototype, "onConfigure", (cast, { size }) => {
    opened.add(cast);
    if (size) queueMicrotask(() => cast.setSize([size[0], size[1]]));
    arrangeLater(cast);
  });
  after(prototype, "onAdded", (cast) => {
    arrangeLater(cast);
    queueMicrotask(() => opened.has(cast) || cast.setSize(cast.computeSize()));
  });
  after(prototype, "onSerialize", (cast, saved) => {
    for (const input of saved.inputs ?? []) if (input.name.startsWith(namesIn(cast).link)) delete input.widget;
  });
}

/** A person who is chosen in a menu makes room for the next, as a link does. */
function followMenus(cast) {
  for (const widget of cast.widgets ?? []) {
    if (widget.name.startsWith(LISTS.LikenessCastFromPhotos.widget)) after(widget, "callback", () => arrangePeople(cast));
  }
}

let keptSaid = ""; // who was kept when menus were made last

/** Menus are made when the page is opened: somebody whom a run has kept is in them at once, as after R. */
function followKept({ detail }) {
  const names = detail?.output?.likeness_kept?.join("\n");
  if (names === undefined || names === keptSaid) return;
  keptSaid = names;
  app.refreshComboInNodes();
}

/** The editor of boxes lays its canvas over the photo that comes to "background": in Person that is "image". */
function drawOnThePhoto(node) {
  const { findInputSlot } = node;
  node.findInputSlot = function (name, ...others) {
    return findInputSlot.call(this, name === "background" ? "image" : name, ...others);
  };
}

/** Of twelve people eight lines are seen: classic nodes give a text all of the room that is left. */
function arrangeBoxes(node) {
  const widgetOf = (name) => node.widgets?.find((widget) => widget.name === name);
  widgetOf("text").options.getMaxHeight = () => 120;
  widgetOf("boxes_from").hidden = true; // bridge/host/schema.py, out_of_sight
}

app.registerExtension({
  name: "likeness.editor",
  setup() {
    addColours();
    api.addEventListener("executed", followKept);
  },
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name in LISTS) extendCast(nodeType.prototype);
  },
  nodeCreated(node) {
    if (node.comfyClass === "LikenessLayoutFromBoxes") arrangeBoxes(node);
    if (node.comfyClass === "LikenessCastFromPhotos") followMenus(node);
    if (node.comfyClass === "LikenessPerson") drawOnThePhoto(node);
  },
});
