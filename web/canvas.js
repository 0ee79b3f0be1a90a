// The canvas: who stands where, to be grabbed. It is on Place Cast, and on Who Stands Where behind a box.
//
// Everything that a hand does is written into one text, the field `arrange` of a Place Cast, and the canvas keeps nothing
// of its own. What it draws is the places of the last run as they were before the text, with the text's edits on them, by
// the same rules in places_shown.js as in core/places/arranging.py: so no gesture needs a run, and undo is the editor's.
//
//   a run ──> data (places before edits) ──┐
//                                          ├──> places_shown.js ──> picture_pane.js ──> places_by_hand.js ──┐
//   arrange (text of a field) ─────────────┘                                                                │
//        ^──────────────────────── one write, one step of undo ─────────────────────────────────────────────┘
//
// Who Stands Where follows its wire back through any number of boxes to the Place Cast, and writes the field of the
// outermost box that sets its `arrange`, else that of the Place Cast inside of the box.
//
// The places are asked for by a prompt of the canvas's own (views.js) as soon as what is in front has changed, if that is
// quick, else by a button. Undo makes new nodes under the old ids, and Nodes 2.0 leave the old elements on the page: so
// the node is looked up by its id whenever it is needed, and what is chosen is kept by that id, outside of the objects.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { activeWorkflow, allNodesOf, boxesAround, keptOf, made, rootGraph, sourceOf } from "./ours.js";
import { Pane, drawn, remember } from "./picture_pane.js";
import * as hand from "./places_by_hand.js";
import { fromBack, read, shapeOf, withoutPlace, written } from "./places_shown.js";
import { translated, translatedMessage } from "./sentences.js";
import { PLACE_CAST, WHO_STANDS_WHERE, onView, show, showSoon, viewOf } from "./views.js";

const NAME = "likeness_canvas"; // of the widget
const TEXT = "arrange"; // the field
const NEW_SIZE = 400; // px of the graph that a new node is wide
const LEAST_HEAD = 12; // px of the screen; smaller ones are not pointed at
const KEY_PAUSE = 500; // ms without a key, after which what keys have done is one step of undo
const EMPTY = { width: 1024, height: 768, places: [], people: [] };
const OFF = [2, 4]; // modes of a node that is muted or bypassed

/** What is chosen and seen on a canvas, kept by the id of its node, also over an undo. */
const newState = () => ({ chosen: 0, joint: "", tool: "", pen: undefined, view: { x: 0, y: 0, zoom: 1 }, said: "", notes: [] });

/** The nodes from the outermost box to the one that a canvas is of, and the field that sets its text. A field without a
 * widget is set by a link. */
function fieldOf(nodes) {
  let node = nodes.at(-1);
  let name = TEXT;
  for (const box of nodes.slice(0, -1).reverse()) {
    const { link: id } = node.inputs.find((input) => input.name === name) ?? {};
    if ((id ?? null) === null) break;
    // Not by numbers of slots: 1.49.6 leaves old ones in the links of a blueprint that is put down.
    const slot = box.subgraph.inputs.find(({ linkIds }) => linkIds.includes(id));
    if (!slot) return {};
    name = slot.name;
    node = box;
  }
  const input = node.inputs?.find((one) => one.name === name);
  const widget = node.widgets?.find((one) => one.name === name);
  return (input?.link ?? null) === null ? { node, widget } : {};
}

class Canvas {
  constructor(node) {
    this.node = node;
    this.boxId = undefined; // of the definition that the node is in
    this.over = 0; // place over which a name is dragged
    this.lastText = this.lastEdits = undefined;
    this.images = new Map();
    this.pane = new Pane(this, "listbox", "");
    this.bar = made("div", [], "display: flex; flex-wrap: wrap; gap: 2px; flex: none");
    this.bar.role = "toolbar";
    this.line = made("div", "", "min-height: 1.3em; max-height: 5.2em; overflow: auto; white-space: pre-line; flex: none");
    this.line.role = "status";
    this.element = made("div", [this.bar, this.pane.svg, this.line]);
    this.element.className = "likeness-canvas";
    Object.assign(this.element, { likeness: this });
    this.buttons = BUTTONS.map((button) => [button, this.addButton(button)]);
  }

  addButton({ icon, act }) {
    const image = drawn("svg", { viewBox: "0 0 16 16", width: 14, height: 14 }, drawn("path", { d: icon }));
    const button = made("button", image);
    button.type = "button";
    button.addEventListener("click", () => {
      this.endKeys();
      act(this);
      this.draw();
    });
    this.bar.append(button);
    return button;
  }

  // ---- where the text is

  /** The node as it is in the graph now: after an undo another object has its id. */
  get live() {
    const { graph, id } = this.node;
    if (graph) this.boxId = graph.isRootGraph === false ? graph.id : undefined;
    const now = this.boxId ? rootGraph().subgraphs?.get(this.boxId) : rootGraph();
    return now?.getNodeById(id) ?? this.node;
  }

  /** The nodes from the outermost box to the Place Cast; none where the places come from elsewhere. */
  get source() {
    const { live } = this;
    const around = boxesAround(live.graph);
    if (live.comfyClass === PLACE_CAST) return [...around, live];
    const nodes = sourceOf(live.graph, live.inputs?.[0]?.link, around);
    return nodes.at(-1)?.comfyClass === PLACE_CAST ? nodes : [];
  }

  /** The id of this node, and of the Place Cast, as the host knows them. */
  get path() {
    return [...boxesAround(this.live.graph), this.live].map(({ id }) => id).join(":");
  }

  get castPath() {
    return this.source.map(({ id }) => id).join(":");
  }

  /** Of which node the places are: several canvases of one Place Cast have one view. */
  get viewPath() {
    return this.castPath || this.path;
  }

  /** {node, widget} that have the text; nothing where a link sets it. A Place Cast in a box has none where a box does. */
  get field() {
    const nodes = this.live.comfyClass === PLACE_CAST ? [this.live] : this.source;
    return nodes.length ? fieldOf(nodes) : {};
  }

  get text() {
    const { widget } = this.field;
    return String(widget ? (widget.value ?? "") : (this.data?.arrange ?? ""));
  }

  /** A copy of what the text says; nothing of one that cannot be read. */
  get edits() {
    return this.readText() ?? {};
  }

  /** Of the text as it was read last: a long one is not read for each point. */
  readText() {
    const { text } = this;
    if (this.lastText !== text) [this.lastText, this.lastEdits] = [text, read(text)];
    return structuredClone(this.lastEdits);
  }

  get isLocked() {
    return !this.field.widget || !this.data || this.readText() === undefined;
  }

  get state() {
    const state = keptOf(activeWorkflow(), `canvas ${this.path}`, newState);
    this.pane.view = state.view;
    return state;
  }

  get view() {
    return viewOf(this.viewPath);
  }

  get data() {
    return this.view.data;
  }

  // ---- what is drawn

  size() {
    const { width, height } = this.data ?? EMPTY;
    return [width, height];
  }

  places() {
    return hand.placesOf(this);
  }

  chosenPlace() {
    return this.places().find(({ given }) => given === this.state.chosen);
  }

  isTooSmall(scale) {
    const heads = this.places().map(({ head }) => head);
    return heads.length > 0 && Math.max(...heads) * scale < LEAST_HEAD;
  }

  shapes(pixel) {
    const { state } = this;
    const [width, height] = this.size();
    const ground = drawn("rect", { width, height, fill: "#222" });
    const shapes = fromBack(this.places(), this.dragged ?? this.edits).map((place) =>
      shapeOf(place, {
        id: `likeness-${this.path}-${place.given}`,
        label: this.described(place),
        pixel,
        images: this.images,
        isChosen: place.given === state.chosen,
        isOver: place.given === this.over,
        joint: state.joint,
        isSeen: (point) => this.pane.isSeen(point),
      }),
    );
    const pen = hand.penOf(this);
    if (pen.length) {
      shapes.push(drawn("polyline", { points: pen.join(" "), fill: "#fff4", stroke: "#fff", "stroke-width": pixel }));
      shapes.push(drawn("circle", { cx: pen.at(-1)[0], cy: pen.at(-1)[1], r: 4 * pixel, fill: "#fff" }));
    }
    return [ground, ...shapes];
  }

  described({ number, person, edit }) {
    const name = person?.name ?? translated("nobody");
    if (edit.out) return translated("This place is taken out.");
    return translated(`Chosen: ${name}, place ${number}.`);
  }

  draw() {
    if (!this.element.isConnected) return;
    this.pane.draw();
    const { chosen, tool } = this.state;
    this.pane.svg.setAttribute("aria-label", translated("Who stands where"));
    this.pane.svg.setAttribute("aria-activedescendant", chosen ? `likeness-${this.path}-${chosen}` : "");
    this.pane.svg.style.cursor = tool ? "crosshair" : "";
    for (const [{ title, isPressed, needs }, button] of this.buttons) {
      const words = translated(typeof title === "function" ? title(this) : title);
      Object.assign(button, { title: words, ariaLabel: words, disabled: needs ? !needs(this) : false });
      if (isPressed) button.ariaPressed = String(isPressed(this));
    }
    const text = this.lines().filter(Boolean).join("\n");
    if (this.line.textContent !== text) this.line.textContent = text;
  }

  /** What one has to know, the most needed first. */
  lines() {
    const { state, view, data, source } = this;
    const said = [];
    if (view.fault) said.push(translatedMessage(view.fault));
    else if (view.waits) said.push(translated("Waits for the picture that is being made."));
    else if (view.isAsked) said.push(translated("Press the round arrow to see who stands where: what is in front takes a while."));
    said.push(this.whyLocked());
    if (source.some(({ mode }) => OFF.includes(mode))) said.push(translated("This is switched off: what is changed here does not count."));
    const shared = source.slice(0, -1).find(({ subgraph }) => subgraph === this.field.node?.graph)?.subgraph;
    const count = shared ? allNodesOf(rootGraph()).filter(({ subgraph }) => subgraph === shared).length : 0;
    if (count > 1) said.push(translated(`${count} boxes have these places in common: a change here changes all.`));
    if (state.said) said.push(state.said);
    // What the last run has said of these places, as long as they are the same.
    const isSame = data?.arrange === this.text;
    if (data && isSame) said.push(translatedMessage(data.line ?? "", PLACE_CAST));
    const edits = this.readText();
    const gone = data && edits && !isSame ? withoutPlace(data, edits) : [];
    if (gone.length) said.push(translated(`There is no place ${gone.join(", ")}: what was changed of it is kept.`));
    const cast = source.at(-1);
    return [...said, ...state.notes.filter(({ node }) => node !== cast).map(({ text }) => text)];
  }

  whyLocked() {
    const { source, field, live, view } = this;
    if (!source.length && (live.inputs?.[0]?.link ?? null) === null) return translated("Connect the output Cast of Place Cast, or of the box that it is in.");
    if (!source.length) return translated("These places come from another node than Place Cast: they cannot be changed here.");
    if (!field.widget) return translated("Arranged by hand (arrange) comes by a link: it cannot be changed here.");
    if (this.readText() === undefined) return translated("Arranged by hand (arrange) cannot be read, so nothing is changed here: empty it, or correct it.");
    if (!this.data && !view.isAsked && !view.fault && !view.waits) return translated("Press the round arrow to see who stands where.");
    return "";
  }

  // ---- what is changed

  /** It has come into sight, or has another size. */
  onSight() {
    this.draw();
    showSoon(canvases);
  }

  /** What a pointer takes hold of. */
  down(point, reach) {
    this.say("");
    return hand.grab(this, point, reach);
  }

  key(event) {
    return hand.press(this, event);
  }

  choose(given) {
    const { state } = this;
    if (state.chosen !== given) Object.assign(state, { chosen: given, joint: "", pen: undefined });
    const place = this.chosenPlace();
    state.said = place ? this.described(place) : "";
  }

  say(sentence) {
    this.state.said = sentence && translated(sentence);
  }

  /** "+" or "-" for a lasso; the same once more is none. */
  setTool(tool) {
    const { state } = this;
    state.tool = state.tool === tool ? "" : tool;
    state.pen = undefined;
    if (state.tool && !state.chosen) this.say("Choose a person first, then draw around what is theirs.");
  }

  /** act: changes the edit of the chosen place. */
  change(act) {
    const { edits } = this;
    const { chosen } = this.state;
    if (!chosen || this.isLocked) return;
    act((edits[chosen] ??= {}));
    this.write(edits);
  }

  write(edits) {
    this.dragged = undefined;
    const { widget, node } = this.field;
    const text = written(edits);
    if (this.isLocked || text === this.text) return;
    widget.value = text;
    widget.callback?.(text);
    node.setDirtyCanvas?.(true, true);
    if (!this.keyWait) remember();
    drawAll();
  }

  // Keys of one kind in a row are one step of undo: the editor keeps fifty in all. Between the two calls it takes none,
  // which it else does after each key.

  beginKey(key) {
    if (key !== this.lastKey) this.endKeys();
    if (!this.keyWait) app.canvas.emitBeforeChange();
    this.lastKey = key;
    clearTimeout(this.keyWait);
    this.keyWait = setTimeout(() => this.endKeys(), KEY_PAUSE);
  }

  endKeys() {
    if (!this.keyWait) return;
    clearTimeout(this.keyWait);
    this.keyWait = undefined;
    this.lastKey = "";
    app.canvas.emitAfterChange();
  }
}

const isOne = (canvas) => Boolean(canvas.chosenPlace()) && !canvas.isLocked;
const isThere = (canvas) => isOne(canvas) && !canvas.chosenPlace().edit.out;
const focused = (act) => (canvas) => {
  act(canvas);
  canvas.pane.svg.focus({ preventScroll: true });
};

const BUTTONS = [
  {
    title: "Mirror (M)",
    icon: "M8 1v14 M6 4 2 12h4z M10 4l4 8h-4z",
    act: hand.mirror,
    needs: isThere,
    isPressed: (canvas) => Boolean(canvas.chosenPlace()?.edit.mirror),
  },
  { title: "In front of the others (F)", icon: "M2 2h8v8H2z M6 12v2h8V6h-2", act: hand.toFront, needs: isThere },
  {
    title: "Draw around what belongs to this person (L)",
    icon: "M3 9a5 4 0 1 1 4 2q-3 0-3 4 M12 10v4 M10 12h4",
    act: focused((canvas) => canvas.setTool("+")),
    needs: isThere,
    isPressed: ({ state }) => state.tool === "+",
  },
  {
    title: "Draw around what does not belong to this person (K)",
    icon: "M3 9a5 4 0 1 1 4 2q-3 0-3 4 M10 12h4",
    act: focused((canvas) => canvas.setTool("-")),
    needs: isThere,
    isPressed: ({ state }) => state.tool === "-",
  },
  { title: "Add a place (A)", icon: "M8 3v10 M3 8h10", act: hand.addPlace, needs: ({ isLocked }) => !isLocked },
  {
    title: "Take this place out, or put it back (Delete)",
    icon: "M4 4l8 8 M12 4l-8 8",
    act: hand.takeOut,
    needs: isOne,
    isPressed: (canvas) => Boolean(canvas.chosenPlace()?.edit.out),
  },
  {
    title: ({ state }) => (state.chosen ? "This place as it was (R)" : "All places as they were (R)"),
    icon: "M3 6h6a4 4 0 0 1 0 8H5 M6 3 3 6l3 3",
    act: hand.reset,
    needs: (canvas) => !canvas.isLocked && canvas.text !== "",
  },
  { title: "Look again who stands where", icon: "M13 8a5 5 0 1 1-2-4 M13 1v4H9", act: (canvas) => show(canvas) },
];

export const canvases = () =>
  [...document.querySelectorAll(".likeness-canvas")].map((element) => /** @type {any} */ (element).likeness);

function drawAll() {
  for (const canvas of canvases()) canvas.draw();
}

/** Puts a canvas on a node. Its picture says the same: Nodes 2.0 know the first way to leave it out, classic nodes the
 * second. */
function add(node) {
  const canvas = new Canvas(node);
  node.hideOutputImages = true;
  Object.defineProperty(node, "imgs", { get: () => undefined, set: () => {}, configurable: true });
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => 200 };
  const widget = node.addDOMWidget(NAME, NAME, canvas.element, options);
  widget.serialize = false;
  widget.label = translated("Who stands where"); // in an app
  // Of a node that is put down new. One that is opened has the size of its file.
  node.setSize([Math.max(node.size[0], NEW_SIZE), node.computeSize()[1] + NEW_SIZE / 4]);
  /** What a run says of nodes that this one stands for: {node, text} each. */
  widget.tell = (notes) => {
    canvas.state.notes = notes;
    canvas.draw();
  };
  const { onConnectionsChange } = node;
  node.onConnectionsChange = function (...given) {
    onConnectionsChange?.apply(this, given);
    queueMicrotask(drawAll);
  };
  const text = node.widgets.find(({ name }) => name === TEXT);
  if (!text) return;
  const { callback } = text;
  text.callback = function (...given) {
    const answer = callback?.apply(this, given);
    drawAll();
    return answer;
  };
}

/** Ctrl+Z was pressed in a canvas: in classic nodes the one that takes its place has the focus again. */
function keepFocus({ target, key, ctrlKey, metaKey }) {
  if (!(ctrlKey || metaKey) || !/^[zy]$/i.test(key)) return;
  const canvas = canvases().find(({ pane }) => pane.svg === target);
  if (canvas) canvas.state.hadFocus = true;
}

function giveFocus() {
  for (const { state, pane } of canvases()) {
    if (state.hadFocus) pane.svg.focus({ preventScroll: true });
    if (document.activeElement === pane.svg) state.hadFocus = false;
  }
  drawAll();
}

const STYLE = `
.likeness-canvas { display: flex; flex-direction: column; gap: 2px; height: 100%; min-height: 180px; font-size: 12px; color: var(--input-text, #ddd) }
.likeness-pane { flex: 1 1 0; min-height: 60px; width: 100%; background: #111; user-select: none; outline-offset: -2px; touch-action: none }
.lg-node:has(.likeness-canvas) :has(> .lg-node-content > .image-preview) { display: none } /* Nodes 2.0 of 1.37 know no other way */
.likeness-pane:focus { outline: 2px solid #56b4e9 }
.likeness-canvas button { padding: 3px 4px; line-height: 0; border: 1px solid #666; border-radius: 4px; background: #333; color: #ddd; cursor: pointer }
.likeness-canvas button:disabled { opacity: 0.4; cursor: default }
.likeness-canvas button:focus-visible { outline: 2px solid #56b4e9 }
.likeness-canvas button[aria-pressed=true] { background: #56b4e9; color: #000 }
.likeness-canvas button path { fill: none; stroke: currentColor; stroke-width: 1.5 }`;

app.registerExtension({
  name: "likeness.canvas",
  setup() {
    document.head.append(made("style", STYLE));
    document.addEventListener("keydown", keepFocus, true);
    onView(drawAll);
    api.addEventListener("graphChanged", () => {
      drawAll(); // a text was changed elsewhere: on a box, inside of it, by another canvas
      showSoon(canvases);
    });
  },
  nodeCreated(node) {
    if ([PLACE_CAST, WHO_STANDS_WHERE].includes(node.comfyClass)) add(node);
  },
  afterConfigureGraph() {
    for (const wait of [0, 50, 300, 1000]) setTimeout(giveFocus, wait); // its tab is known a while later
    showSoon(canvases);
  },
});
