// A picture in a node that one points at, zooms into and draws on with a lasso: the canvas of people and the picture of a
// look are such panes. All that lies between the editor and a picture in a node is here, found in frontends 1.27 to 1.58:
//
// - The editor takes a step of undo at a mouseup, which does not come where a pointerdown is taken: `remember` does it.
// - Listeners are on the element: Nodes 2.0 stop pointers at the widget, nothing of them reaches the window.
// - The plain wheel is the pane's while it has the focus, else the graph's; with Ctrl, as a pinch of a touchpad comes, it
//   is always the graph's. Classic nodes and 1.37 swallow what is the graph's above a widget: it is sent on, as is the
//   middle button. What newer Nodes 2.0 send on by themselves does not come here.
// - Plain keys stay here, where Delete would remove the node and letters open side bars. With Ctrl or Cmd, and Tab, they
//   are the editor's.
// - Seen from far away the pointer is the graph's, so that nobody moves a person who means the node.

import { app } from "../../scripts/app.js";
import { inApp } from "./ours.js";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = 0.08; // of the picture's sides, seen around it: handles of somebody at its edge lie outside
const DEEPEST = 12; // times that it can be zoomed into
const [MOUSE_REACH, TOUCH_REACH] = [9, 22]; // px of the screen around a handle
const MIDDLE = 4; // of buttons that are held
const THINNED = 0.04; // of the unit of a lasso: how far its line may be from what was drawn

/** @typedef {number[]} Point x and y */

/** @type {(a: Point, b: Point) => number} */
export const far = ([x, y], [u, v]) => Math.hypot(x - u, y - v);
/** @type {(a: Point, b: Point) => Point} */
export const plus = ([x, y], [u, v]) => [x + u, y + v];
/** @type {(a: Point, b: Point) => Point} */
export const minus = ([x, y], [u, v]) => [x - u, y - v];
/** @type {(a: Point, by: number) => Point} */
export const times = ([x, y], by) => [x * by, y * by];
export const clamp = (number, least, most) => Math.min(most, Math.max(least, number));
export const rounded = (number) => Math.round(number * 100) / 100 || 0; // and no -0

/** turn: degrees, as seen from the right to below.
 * @type {(point: Point, turn: number) => Point} */
export const rotated = ([x, y], turn) => {
  const [cosine, sine] = [Math.cos((turn * Math.PI) / 180), Math.sin((turn * Math.PI) / 180)];
  return [x * cosine - y * sine, x * sine + y * cosine];
};

/** An element of SVG. */
export function drawn(kind, attributes = {}, ...inside) {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...inside);
  return element;
}

/** One step of the editor's own undo; none where nothing has changed since the last. */
export function remember() {
  app.canvas.emitBeforeChange();
  app.canvas.emitAfterChange();
}

const isClassic = () => !LiteGraph.vueNodesMode;

/** A copy of an event for the graph below, or for another element. */
function sendOn(event, element = app.canvas.canvas) {
  const Kind = /** @type {any} */ (event.constructor);
  element.dispatchEvent(new Kind(event.type, event));
}

/** A node is dragged, with what else is selected: a classic editor moves none that is taken hold of by a widget. */
function movingNode(node, { clientX, clientY, shiftKey }) {
  const { canvas } = app;
  if (!canvas.selectedItems.has(node)) canvas.selectNode(node, shiftKey);
  canvas.emitBeforeChange();
  let at = [clientX, clientY];
  const end = () => canvas.emitAfterChange();
  const move = (_, event) => {
    const to = [event.clientX, event.clientY];
    const [x, y] = times(minus(to, at), 1 / canvas.ds.scale);
    for (const item of canvas.selectedItems) item.move(x, y);
    at = to;
    canvas.setDirty(true, true);
  };
  return { move, end, cancel: end };
}

/** A line of fewer points, none of the old ones further away from it than `most` (Douglas and Peucker). */
export function thinned(points, most = THINNED) {
  const kept = new Set([0, points.length - 1]);
  const parts = [[0, points.length - 1]];
  for (const [first, last] of parts) {
    let [worst, at] = [most, 0];
    for (let index = first + 1; index < last; index += 1) {
      const way = fromLine(points[index], points[first], points[last]);
      if (way > worst) [worst, at] = [way, index];
    }
    if (!at) continue;
    kept.add(at);
    parts.push([first, at], [at, last]);
  }
  return points.filter((_, index) => kept.has(index));
}

/** How far a point is from the line between two. */
export function fromLine(point, from, to) {
  const way = minus(to, from);
  const length = way[0] ** 2 + way[1] ** 2;
  const [x, y] = minus(point, from);
  const along = length ? clamp((x * way[0] + y * way[1]) / length, 0, 1) : 0;
  return far(point, plus(from, times(way, along)));
}

// ---- outlines that are drawn by hand, as core/places/hand_texts.py reads them: ["+", x, y, x, y, ...], "-" takes away

export const LONGEST_TEXT = 200_000; // letters
const FURTHEST = 100;
const MOST_OUTLINES = 64;
export const MOST_POINTS = 400;

export const isNumber = (value, most = FURTHEST) => typeof value === "number" && Math.abs(value) <= most;

function isOutline(value) {
  if (!Array.isArray(value) || !["+", "-"].includes(value[0])) return false;
  const numbers = value.slice(1);
  const count = numbers.length / 2;
  return count >= 3 && count <= MOST_POINTS && count % 1 === 0 && numbers.every((one) => isNumber(one));
}

export const areOutlines = (value) => Array.isArray(value) && value.length <= MOST_OUTLINES && value.every(isOutline);

/** The points of an outline.
 * @type {(outline: any[]) => Point[]} */
export const pointsOf = ([, ...numbers]) => numbers.flatMap((x, index) => (index % 2 ? [] : [[x, numbers[index + 1]]]));

// ---- a pen, by which a line is drawn without a mouse: {at, points}

export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Whether a key was for a pen: arrows move it by a step, Space sets a corner. */
export function movesPen(pen, key, step) {
  if (ARROWS[key]) pen.at = plus(pen.at, times(ARROWS[key], step)).map(rounded);
  else if (key === " ") pen.points.push(pen.at);
  else return false;
  return true;
}

/** The line of a pen and the pen at its end. points: in px of the picture. */
export function lineOf(points, pixel) {
  if (!points.length) return [];
  const [cx, cy] = points.at(-1);
  const line = drawn("polyline", { points: points.join(" "), fill: "#fff4", stroke: "#fff", "stroke-width": pixel });
  return [line, drawn("circle", { cx, cy, r: 4 * pixel, fill: "#fff" })];
}

export class Pane {
  /**
   * scene: what is in the pane.
   *   size(): width and height of the picture in px
   *   shapes(pixel): what is drawn in it. pixel: one of the node, in px of the picture
   *   draw(): draws the pane, and what stands beside it
   *   onSight(): it is seen, or has another size
   *   endKeys(): another thing than a key has come
   *   down(point, reach, event): what a pointer takes hold of, {move(point, event), end(), cancel()}; else it pans
   *   key(event): whether a plain key was for it
   *   isTooSmall(scale): whether it is seen from too far away to be pointed at. scale: px of the screen to one of the picture
   *   live: the node that it is on
   */
  constructor(scene, role, label) {
    this.scene = scene;
    this.view = { x: 0, y: 0, zoom: 1 };
    this.pointers = new Map(); // id -> where it is on the screen
    this.svg = drawn("svg", { tabindex: 0, role, "aria-label": label, class: "likeness-pane" });
    const on = (name, act) => this.svg.addEventListener(name, act.bind(this), { passive: false });
    on("pointerdown", this.onDown);
    on("pointermove", this.onMove);
    on("pointerup", this.onUp);
    on("pointercancel", this.onCancel);
    on("mousedown", (event) => this.passed !== undefined && event.preventDefault()); // nor is the focus the pane's
    on("contextmenu", (event) => event.preventDefault());
    on("wheel", this.onWheel);
    on("keydown", this.onKey);
    on("blur", () => this.scene.endKeys());
    this.svg.dataset.captureWheel = "true"; // Nodes 2.0 leave the wheel to it, newer ones while it has the focus
    new ResizeObserver(() => this.scene.onSight()).observe(this.svg);
  }

  draw() {
    const [left, top, wide, high] = this.sight();
    this.svg.setAttribute("viewBox", [left, top, wide, high].join(" "));
    const shapes = this.scene.shapes(this.pixel());
    if (this.lasso) {
      const look = { fill: "#fff4", stroke: "#fff", "stroke-width": this.pixel() };
      shapes.push(drawn("polygon", { points: this.lasso.join(" "), ...look }));
    }
    this.svg.replaceChildren(...shapes);
  }

  /** What is seen: left, top, width, height in px of the picture. */
  sight() {
    const [wide, high] = this.scene.size();
    const { x, y, zoom } = this.view;
    return [x - wide * MARGIN, y - high * MARGIN, ...this.whole().map((side) => side / zoom)];
  }

  /** The picture and what is seen around it, in px of the picture. */
  whole() {
    return this.scene.size().map((side) => side * (1 + 2 * MARGIN));
  }

  isSeen([x, y]) {
    const [left, top, wide, high] = this.sight();
    return x > left && x < left + wide && y > top && y < top + high;
  }

  /** A px of the node, in px of the picture: what is drawn grows with the graph, as the words on nodes do. */
  pixel() {
    const [, , wide, high] = this.sight();
    return Math.max(wide / (this.svg.clientWidth || wide), high / (this.svg.clientHeight || high));
  }

  /** Where the picture lies on the screen: {scale, left, top}. Firefox's own matrix knows no scale of the graph. */
  onScreen() {
    const [left, top, wide, high] = this.sight();
    const rect = this.svg.getBoundingClientRect();
    const scale = Math.min(rect.width / wide, rect.height / high) || 1;
    const x = rect.left + (rect.width - wide * scale) / 2 - left * scale;
    const y = rect.top + (rect.height - high * scale) / 2 - top * scale;
    return { scale, left: x, top: y };
  }

  pointOf({ clientX, clientY }) {
    const { scale, left, top } = this.onScreen();
    return [(clientX - left) / scale, (clientY - top) / scale];
  }

  // ---- pointers

  /** Whether an event of a pointer is the graph's: that of the middle button, or far out. */
  isGraphs(event) {
    if (event.type === "pointerdown") this.passed = event.button === 1 || this.isFarOut() ? event.pointerId : undefined;
    else if (!event.buttons && event.type === "pointermove") this.passed = undefined; // it was let go of elsewhere
    if (this.passed !== event.pointerId) return false;
    if (!["pointerdown", "pointermove"].includes(event.type)) this.passed = undefined;
    // Nodes 2.0 pan by the middle button by themselves.
    if (!isClassic() && (event.button === 1 || event.buttons === MIDDLE)) return true;
    // Nodes 2.0 drag a node by its own element, and take a step of undo at the mouseup.
    if (isClassic()) event.preventDefault();
    event.stopPropagation();
    sendOn(event, isClassic() ? undefined : this.svg.closest("[data-node-id]"));
    return true;
  }

  isFarOut() {
    return this.scene.isTooSmall(this.onScreen().scale);
  }

  capture({ pointerId }) {
    try {
      this.svg.setPointerCapture(pointerId);
    } catch {
      // The pointer is gone, as that of a script may be.
    }
  }

  onDown(event) {
    if (isClassic() && event.button === 0 && this.isFarOut()) {
      event.stopPropagation();
      event.preventDefault();
      this.capture(event);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      this.drag = movingNode(this.scene.live, event);
      return;
    }
    if (this.isGraphs(event)) return;
    event.stopPropagation();
    event.preventDefault();
    this.svg.focus({ preventScroll: true });
    this.scene.endKeys();
    remember(); // a word that was typed just before is a step of its own
    if (event.button > 0) return;
    this.capture(event);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size > 1) {
      this.drop();
      this.drag = this.pinching();
    } else {
      const reach = (event.pointerType === "touch" ? TOUCH_REACH : MOUSE_REACH) / this.onScreen().scale;
      this.drag = this.scene.down(this.pointOf(event), reach, event) ?? this.panning(event);
    }
    this.scene.draw();
  }

  onMove(event) {
    if (this.isGraphs(event) || !this.pointers.has(event.pointerId)) return;
    event.stopPropagation();
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.drag?.move(this.pointOf(event), event);
    this.draw();
  }

  onUp(event) {
    if (this.isGraphs(event) || !this.pointers.delete(event.pointerId)) return;
    event.stopPropagation();
    const { drag } = this;
    this.drag = undefined;
    drag?.end?.();
    this.scene.draw();
  }

  onCancel(event) {
    if (this.isGraphs(event)) return;
    this.pointers.delete(event.pointerId);
    this.drop();
    this.scene.draw();
  }

  /** Ends what was begun as if it had not been. */
  drop() {
    this.drag?.cancel?.();
    this.drag = this.lasso = undefined;
  }

  panning({ clientX, clientY }) {
    const { x, y } = this.view;
    const { scale } = this.onScreen();
    return {
      move: (_, event) => {
        Object.assign(this.view, { x: x + (clientX - event.clientX) / scale, y: y + (clientY - event.clientY) / scale });
        this.keepInside();
      },
    };
  }

  pinching() {
    const apart = () => {
      const [one, other] = [...this.pointers.values()];
      return far(one, other) || 1;
    };
    const [{ zoom }, before] = [{ ...this.view }, apart()];
    return { move: (point) => this.pointers.size > 1 && this.zoomTo((zoom * apart()) / before, point) };
  }

  /** A line around something. done: called with its points, where it is more than a dot. */
  lassoing(point, done) {
    const points = [point];
    this.lasso = points;
    const step = 3 / this.onScreen().scale;
    return {
      move: (to) => {
        if (far(to, points[points.length - 1]) > step) points.push(to);
      },
      end: () => {
        this.lasso = undefined;
        if (points.length > 2) done(points);
      },
    };
  }

  // ---- wheel, zoom and keys

  onWheel(event) {
    const isOurs = document.activeElement === this.svg && !event.ctrlKey && !event.metaKey;
    if (!isOurs && inApp()) return; // the app scrolls
    event.preventDefault();
    event.stopPropagation();
    if (!isOurs) {
      sendOn(event);
      return;
    }
    this.zoomTo(this.view.zoom * Math.exp(-event.deltaY / 400), this.pointOf(event));
    this.draw();
  }

  /** around: what stays where it is, in px of the picture. */
  zoomTo(zoom, around) {
    const before = this.view.zoom;
    this.view.zoom = clamp(zoom, 1, DEEPEST);
    const kept = 1 - before / this.view.zoom;
    const from = this.scene.size().map((side) => side * MARGIN);
    this.view.x += (around[0] + from[0] - this.view.x) * kept;
    this.view.y += (around[1] + from[1] - this.view.y) * kept;
    this.keepInside();
  }

  keepInside() {
    const [wide, high] = this.whole().map((side) => side - side / this.view.zoom);
    this.view.x = clamp(this.view.x, 0, wide);
    this.view.y = clamp(this.view.y, 0, high);
  }

  onKey(event) {
    if (event.key === "Tab") return;
    if (event.ctrlKey || event.metaKey) {
      this.scene.endKeys(); // undo takes back what the keys have done
      return;
    }
    event.stopPropagation();
    if (!this.scene.key(event)) return;
    event.preventDefault();
    this.scene.draw();
  }
}
