// A pane on a node, with buttons above it and a line below, whose gestures are written into one text: that of a field of
// the node, or of the box around it. The canvas of people and the picture of a look are such panes.
//
// A pane keeps nothing of its own. Undo makes new nodes under the old ids, and Nodes 2.0 leave the old elements on the
// page: so the node is looked up by its id whenever it is needed, and what is chosen is kept by that id, outside of the
// objects.

import { app } from "../../scripts/app.js";
import { activeWorkflow, boxesAround, keptOf, made, rootGraph } from "./ours.js";
import { Pane, drawn, remember } from "./picture_pane.js";
import { translated, translatedMessage } from "./sentences.js";
import { onView, viewOf } from "./views.js";

const NAME = "likeness_canvas"; // of the widget
const NEW_SIZE = 400; // px of the graph that a new node is wide
const KEY_PAUSE = 500; // ms without a key, after which what keys have done is one step of undo

/** The nodes from the outermost box to the one that has a field, and what sets its text: {node, widget}. A field without a
 * widget is set by a link. */
export function fieldOf(nodes, field) {
  let node = nodes.at(-1);
  let name = field;
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

export class PaneOnNode {
  /**
   * A subclass has what a Pane asks of its scene, and `read`, `written`, `title` and `lines`.
   *
   * field: what the text is called, {name, label} of an input. role: of the pane. buttons: {title, icon, act, needs,
   * isPressed} each; all but icon are called with this, title may be words.
   */
  constructor(node, field, role, buttons) {
    this.node = node;
    this.called = field;
    this.boxId = undefined; // of the definition that the node is in
    this.lastText = this.lastEdits = undefined;
    this.images = new Map();
    this.pane = new Pane(this, role, "");
    this.bar = made("div", [], "display: flex; flex-wrap: wrap; gap: 2px; flex: none");
    this.bar.role = "toolbar";
    this.line = made("div", "", "min-height: 1.3em; max-height: 5.2em; overflow: auto; white-space: pre-line; flex: none");
    this.line.role = "status";
    this.element = made("div", [this.bar, this.pane.svg, this.line]);
    this.element.className = "likeness-canvas";
    Object.assign(this.element, { likeness: this });
    this.buttons = buttons.map((button) => [button, this.addButton(button)]);
  }

  /** What the text says; undefined of one that cannot be read.
   * @type {(text: string) => any} */
  read() {
    return undefined;
  }

  /** The text that says it.
   * @type {(edits: any) => string} */
  written() {
    return "";
  }

  /** What the pane shows, in words. */
  title() {
    return "";
  }

  /** What one has to know, the most needed first.
   * @returns {string[]} */
  lines() {
    return [];
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

  /** The id of this node as the host knows it. */
  get path() {
    return [...boxesAround(this.live.graph), this.live].map(({ id }) => id).join(":");
  }

  /** The node of which it shows the result, and its id as the host knows it. */
  get shownNode() {
    return this.live;
  }

  get viewPath() {
    return this.path;
  }

  /** {node, widget} that have the text; nothing where a link sets it, be it from an input of the box around. */
  get field() {
    return fieldOf([this.live], this.called.name);
  }

  get text() {
    return String(this.field.widget?.value ?? "");
  }

  /** A copy of what the text says; nothing of one that cannot be read. */
  get edits() {
    return this.readText() ?? this.read("");
  }

  /** Of the text as it was read last: a long one is not read for each point. */
  readText() {
    const { text } = this;
    if (this.lastText !== text) [this.lastText, this.lastEdits] = [text, this.read(text)];
    return structuredClone(this.lastEdits);
  }

  get isLocked() {
    return !this.field.widget || !this.data || this.readText() === undefined;
  }

  get state() {
    const state = keptOf(activeWorkflow(), `canvas ${this.path}`, () => this.newState());
    this.pane.view = state.view;
    return state;
  }

  /** What is chosen and seen, kept by the id of the node, also over an undo. */
  newState() {
    return { chosen: 0, joint: "", tool: "", pen: undefined, view: { x: 0, y: 0, zoom: 1 }, said: "", notes: [] };
  }

  get view() {
    return viewOf(this.viewPath);
  }

  /** What the last run has sent of `shownNode`. On a busy machine the editor says after the run which workflow is open,
   * perhaps in the middle of a gesture: what was seen of the same node is that workflow's, too. */
  get data() {
    const { view, shownNode, last } = this;
    if (last && last.node === shownNode) view.data ??= last.data;
    this.last = { node: shownNode, data: view.data };
    return view.data;
  }

  // ---- what is drawn

  draw() {
    if (!this.element.isConnected) return;
    this.pane.draw();
    this.pane.svg.setAttribute("aria-label", this.title());
    this.pane.svg.style.cursor = this.state.tool ? "crosshair" : "";
    for (const [{ title, isPressed, needs }, button] of this.buttons) {
      const words = translated(typeof title === "function" ? title(this) : title);
      Object.assign(button, { title: words, ariaLabel: words, disabled: needs ? !needs(this) : false });
      if (isPressed) button.ariaPressed = String(isPressed(this));
    }
    const text = this.lines().filter(Boolean).join("\n");
    if (this.line.textContent !== text) this.line.textContent = text;
  }

  /** Why nothing can be changed here; "" where the text is not the reason. */
  whyNoText() {
    const { label } = this.called;
    const said = (sentence) => translatedMessage(sentence, this.node.comfyClass);
    if (!this.field.widget) return said(`${label} comes by a link: it cannot be changed here.`);
    if (this.readText() !== undefined) return "";
    return said(`${label} cannot be read, so nothing is changed here: empty it, or correct it.`);
  }

  /** It has come into sight, or has another size. */
  onSight() {
    this.draw();
  }

  say(sentence) {
    this.state.said = sentence && translated(sentence);
  }

  // ---- what is changed

  write(edits) {
    this.dragged = undefined;
    const { widget, node } = this.field;
    const text = this.written(edits);
    if (this.isLocked || text === this.text) return;
    if (this.read(text) === undefined) {
      this.say("That is more than is kept, so it was not changed.");
      return;
    }
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

  /** Puts it on its node, in the place of the node's pictures, which show the same: Nodes 2.0 know the first way to leave
   * them out, classic nodes the second. */
  add() {
    const { node } = this;
    node.hideOutputImages = true;
    Object.defineProperty(node, "imgs", { get: () => undefined, set: () => {}, configurable: true });
    const options = { serialize: false, hideOnZoom: false, getMinHeight: () => 200 };
    const widget = node.addDOMWidget(NAME, NAME, this.element, options);
    widget.serialize = false;
    widget.label = this.title(); // in an app
    // Of a node that is put down new. One that is opened has the size of its file.
    node.setSize([Math.max(node.size[0], NEW_SIZE), node.computeSize()[1] + NEW_SIZE / 4]);
    /** What a run says of nodes that this one stands for: {node, text} each. */
    widget.tell = (notes) => {
      this.state.notes = notes;
      this.draw();
    };
    const { onConnectionsChange } = node;
    node.onConnectionsChange = function (...given) {
      onConnectionsChange?.apply(this, given);
      queueMicrotask(drawAll);
    };
    const text = node.widgets.find(({ name }) => name === this.called.name);
    if (!text) return;
    const { callback } = text;
    text.callback = function (...given) {
      const answer = callback?.apply(this, given);
      drawAll();
      return answer;
    };
  }
}

/** What a button does, and then the keys are the pane's. */
export const focused = (act) => (one) => {
  act(one);
  one.pane.svg.focus({ preventScroll: true });
};

export const panes = () =>
  [...document.querySelectorAll(".likeness-canvas")].map((element) => /** @type {any} */ (element).likeness);

export function drawAll() {
  for (const one of panes()) one.draw();
}

/** Ctrl+Z was pressed in a pane: in classic nodes the one that takes its place has the focus again. */
function keepFocus({ target, key, ctrlKey, metaKey }) {
  if (!(ctrlKey || metaKey) || !/^[zy]$/i.test(key)) return;
  const one = panes().find(({ pane }) => pane.svg === target);
  if (one) one.state.hadFocus = true;
}

function giveFocus() {
  for (const { state, pane } of panes()) {
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
  name: "likeness.pane_on_node",
  setup() {
    document.head.append(made("style", STYLE));
    document.addEventListener("keydown", keepFocus, true);
    onView(drawAll);
  },
  afterConfigureGraph() {
    for (const wait of [0, 50, 300, 1000]) setTimeout(giveFocus, wait); // its tab is known a while later
  },
});
