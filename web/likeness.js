// What the nodes look like in the editor: colours of our sockets, lists no longer than their people, and boxes that are
// dragged as text. Without this file every graph opens and runs alike.

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

const LISTS = ["LikenessCast", "LikenessCastFromPhotos"];
const isPerson = (input) => /^(person|photo)_/.test(input.name);
const weightOf = (person) => person.name.replace("person", "weight");

/** Out of sight in its place: an input that says it belongs to a widget gets no line of its own. */
function hide(input) {
  input.widget = { name: input.name };
  input.isValidTarget = () => false;
}

function show(input) {
  delete input.widget;
  delete input.isValidTarget;
}

/** Everybody who is connected and the first free place, with their weights. */
function arrangePeople(cast) {
  const linked = (name) => cast.inputs.some((input, slot) => input.name === name && cast.isInputConnected(slot));
  const people = cast.inputs.filter(isPerson);
  people.forEach(show);
  const hidden = people.filter((person) => !linked(person.name) && !linked(weightOf(person))).slice(1);
  hidden.forEach(hide);
  for (const widget of cast.widgets ?? []) widget.hidden = hidden.some((person) => weightOf(person) === widget.name);
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
  before(prototype, "onGraphConfigured", (cast) => cast.inputs.filter(isPerson).forEach(show));
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
    for (const input of saved.inputs ?? []) if (isPerson(input)) delete input.widget;
  });
}

/** As Layout from Boxes reads them: a line per box. */
const written = (boxes) =>
  boxes
    .map(({ x, y, width, height, metadata }) => {
      const name = metadata?.desc ? `${metadata.desc}: ` : "";
      return `${name}${[x, y, width, height].join(", ")}`;
    })
    .join("\n");

/** The boxes of a text, nothing while one of its lines is no box. drawn: whose colours the first of them take. */
function boxesOf(text, drawn) {
  const boxes = [];
  for (const line of text.split("\n").filter((one) => one.trim())) {
    const [numbers, ...name] = line.split(/[:：]/).reverse();
    const sides = numbers.split(/[,;，、；،؛､﹐\s]+/).filter(Boolean).map(Number);
    if (sides.length !== 4 || !sides.every(Number.isFinite)) return undefined;
    const [x, y, width, height] = sides;
    const metadata = { type: "obj", text: "", palette: [], ...drawn[boxes.length]?.metadata };
    boxes.push({ x, y, width, height, metadata: { ...metadata, desc: name.reverse().join(":").trim() } });
  }
  return boxes;
}

/** The editor of boxes lays its canvas over the photo that comes to "background": in Person that is "image". */
function drawOnThePhoto(node) {
  const { findInputSlot } = node;
  node.findInputSlot = function (name, ...others) {
    return findInputSlot.call(this, name === "background" ? "image" : name, ...others);
  };
}

const PAUSE = 400; // milliseconds without a key, after which a text is done

/** Drawn boxes and their text say the same: each follows the other. Of twelve people eight lines are seen. */
function followBoxes(node) {
  const widgetOf = (name) => node.widgets?.find((widget) => widget.name === name);
  const [boxes, text] = [widgetOf("boxes"), widgetOf("text")];
  if (!text) return;
  text.options.getMaxHeight = () => 120; // classic nodes give it all of the room that is left
  if (!boxes) return; // a ComfyUI without an editor of boxes
  let said = ""; // the drawn boxes as text
  const saysTheSame = () => written(boxesOf(text.value, []) ?? [{}]) === said;
  const boxesCount = () => widgetOf("boxes_from").value === "drawn";
  const isLinked = () => node.isInputConnected(node.findInputSlot("bboxes"));
  after(node, "onConfigure", () => (said = written(boxes.value ?? [])));
  const { callback } = boxes;
  boxes.callback = function (drawn) {
    // Other boxes in the text are somebody's own and stay. A line that is no box would stop the run, though the boxes
    // count. Linked boxes count for as long as there is no text.
    const isBroken = boxesCount() && !boxesOf(text.value, []);
    const follows = drawn.length && (isBroken || saysTheSame()) && (said || !isLinked());
    said = written(drawn);
    if (follows) text.value = said;
    return callback?.apply(this, arguments);
  };
  let keys = 0;
  after(text, "callback", () => {
    keys += 1;
    const now = keys;
    setTimeout(() => {
      if (now !== keys) return; // another key has been pressed
      const typed = boxesOf(text.value, boxes.value ?? []);
      if (!typed?.length || !boxesCount() || saysTheSame()) return;
      said = written(typed);
      boxes.value = typed;
      drawAnew(node, boxes);
    }, PAUSE);
  });
}

/** The editor of boxes looks at its value once, when it is put onto the page. */
function drawAnew(node, widget) {
  const set = (isShown) => {
    widget.hidden = !isShown; // 1.58
    widget.options.hidden = !isShown; // 1.49
    node.inputs.push(node.inputs.pop()); // Vue nodes are drawn anew for a change of the list only
  };
  set(false);
  requestAnimationFrame(() => requestAnimationFrame(() => set(true)));
}

app.registerExtension({
  name: "likeness.editor",
  setup: addColours,
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (LISTS.includes(nodeData.name)) extendCast(nodeType.prototype);
  },
  nodeCreated(node) {
    if (node.comfyClass === "LikenessLayoutFromBoxes") followBoxes(node);
    if (node.comfyClass === "LikenessPerson") drawOnThePhoto(node);
  },
});
