// On Look from Picture: the picture that was drawn, with what was taken of it, to be drawn on with a lasso. What is drawn is
// the text of the field `drawn`, [["+", x, y, x, y, ...], ["-", ...]] in percent of the picture: what belongs to the look,
// and what does not, one outline after the other, as core/persons/drawn_looks.py reads it.
//
// A run sends the picture, and what was taken before anything was drawn; null for all of it.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { LONGEST_TEXT, MOST_POINTS, areOutlines, clamp, drawn, lineOf, movesPen, pointsOf, thinned } from "./picture_pane.js";
import { PaneOnNode, focused } from "./pane_on_node.js";
import { translated } from "./sentences.js";

const NODE = "LikenessLookFromPicture";
const TEXT = { name: "drawn", label: "Drawn by hand (drawn)" };
const WHOLE = 100; // percent
const THINNED = 0.3; // percent that a line may be from what was drawn
const [STEP, LONG_STEP] = [1, 10]; // percent by an arrow, with Shift
const LEAST_SIDE = 100; // px of the screen; a smaller picture is not drawn on
const EMPTY = { width: 4, height: 3 };
const LOOK = { "+": { stroke: "#56b4e9" }, "-": { stroke: "#fff", "stroke-dasharray": "4 3" } };

/** The outlines of a text; undefined where a run refuses it. */
export function read(text) {
  if (typeof text !== "string" || text.length > LONGEST_TEXT) return undefined;
  if (!text.trim()) return [];
  try {
    const outlines = JSON.parse(text);
    return areOutlines(outlines) ? outlines : undefined;
  } catch {
    return undefined;
  }
}

class PictureOfLook extends PaneOnNode {
  constructor(node) {
    super(node, TEXT, "img", BUTTONS);
  }

  read = read;
  written = (outlines) => (outlines.length ? JSON.stringify(outlines) : "");
  title = () => translated("What is taken of the picture");

  newState() {
    return { ...super.newState(), tool: "+" };
  }

  size() {
    const { width, height } = this.data ?? EMPTY;
    return [width, height];
  }

  isTooSmall(scale) {
    return Math.max(...this.size()) * scale < LEAST_SIDE;
  }

  lines() {
    const { state, data, text } = this;
    const why = this.whyNoText();
    const wait = translated("Run the workflow: then the picture is here, to be drawn on.");
    const how = translated("Draw around what belongs to the look; with the second button around what does not.");
    const said = data ? state.said || (text || why ? "" : how) : wait;
    return [why, said, ...state.notes.map((note) => note.text)];
  }

  // ---- what is drawn

  shapes(pixel) {
    const [width, height] = this.size();
    if (!this.data) return [drawn("rect", { width, height, fill: "#222" })];
    const id = `likeness-taken-${this.path.replaceAll(":", "-")}`;
    const outlines = this.edits.map((outline) => ({ sign: outline[0], points: pointsOf(outline).map((point) => this.at(point)) }));
    const dim = drawn("rect", { width, height, fill: "#707", "fill-opacity": 0.75 });
    const lines = outlines.map(({ sign, points }) =>
      drawn("polygon", { points: points.join(" "), fill: "none", ...LOOK[sign], "stroke-width": 1.5, "vector-effect": "non-scaling-stroke" }),
    );
    const pen = this.state.pen ? [...this.state.pen.points, this.state.pen.at].map((point) => this.at(point)) : [];
    return [
      this.takenMask(id, outlines),
      this.picture("below", this.data.picture),
      dim,
      this.picture("taken", this.data.picture, { mask: `url(#${id})` }),
      ...lines,
      ...lineOf(pen, pixel),
    ];
  }

  /** White where something is taken, as a run takes it: of a whole picture nothing, where the first outline adds. */
  takenMask(id, outlines) {
    const [width, height] = this.size();
    const { taken } = this.data;
    const whole = drawn("rect", { width, height, fill: outlines[0]?.sign === "+" ? "#000" : "#fff" });
    const said = outlines.map(({ sign, points }) =>
      drawn("polygon", { points: points.join(" "), fill: sign === "+" ? "#fff" : "#000" }),
    );
    const before = taken ? this.picture("mask", taken) : whole;
    return drawn("mask", { id, maskUnits: "userSpaceOnUse", x: 0, y: 0, width, height }, before, ...said);
  }

  /** An image of the host over the whole drawing, made once: a new one would flicker. */
  picture(use, where, more = {}) {
    const href = api.apiURL(`/view?${new URLSearchParams(where)}`);
    const key = `${use} ${href}`;
    const [width, height] = this.size();
    if (!this.images.has(key)) this.images.set(key, drawn("image", { href, preserveAspectRatio: "none" }));
    const image = this.images.get(key);
    for (const [name, value] of Object.entries({ width, height, ...more })) image.setAttribute(name, String(value));
    return image;
  }

  /** From percent to px of the picture, and back.
   * @param {number[]} point */
  at([x, y]) {
    const [width, height] = this.size();
    return [(x / WHOLE) * width, (y / WHOLE) * height];
  }

  percent([x, y]) {
    const [width, height] = this.size();
    return [x / width, y / height].map((share) => clamp(share, 0, 1) * WHOLE);
  }

  // ---- what a hand does

  down(point) {
    const { state } = this;
    state.pen = undefined;
    this.say("");
    if (!state.tool || this.isLocked) return undefined;
    return this.pane.lassoing(point, (points) => this.addOutline(points.map((one) => this.percent(one))));
  }

  addOutline(points) {
    let line = thinned(points, THINNED);
    for (let most = 2 * THINNED; line.length > MOST_POINTS; most *= 2) line = thinned(points, most);
    const numbers = line.flat().map((number) => Math.round(number * 10) / 10);
    if (line.length > 2) this.write([...this.edits, [this.state.tool, ...numbers]]);
  }

  setTool(tool) {
    const { state } = this;
    Object.assign(state, { tool: state.tool === tool ? "" : tool, pen: undefined });
  }

  /** Whether a plain key was for the picture. */
  key({ key, shiftKey }) {
    const { state } = this;
    this.beginKey(key);
    if (key === "Escape") {
      this.pane.drop();
      state.pen = undefined;
      return true;
    }
    if (this.isLocked) return false;
    if (state.pen && key === "Enter") {
      const { points } = state.pen;
      state.pen = undefined;
      this.say("");
      if (points.length > 2) this.addOutline(points);
    } else if (state.pen && movesPen(state.pen, key, shiftKey ? LONG_STEP : STEP)) state.pen.at = state.pen.at.map((one) => clamp(one, 0, WHOLE));
    else if (key === "l" || key === "k") {
      Object.assign(state, { tool: key === "l" ? "+" : "-", pen: { at: [WHOLE / 2, WHOLE / 2], points: [] } });
      this.say("Arrows move the pen, Space sets a corner, Enter closes the line.");
    } else if (key === "Delete" || key === "Backspace") takeBack(this);
    else if (key === "r") this.write([]);
    else return false;
    return true;
  }
}

const isOpen = ({ isLocked }) => !isLocked;
const isDrawnOn = ({ isLocked, text }) => !isLocked && text !== "";
const takeBack = (one) => one.write(one.edits.slice(0, -1));

const BUTTONS = [
  {
    title: "Draw around what belongs to the look (L)",
    icon: "M3 9a5 4 0 1 1 4 2q-3 0-3 4 M12 10v4 M10 12h4",
    act: focused((one) => one.setTool("+")),
    needs: isOpen,
    isPressed: ({ state }) => state.tool === "+",
  },
  {
    title: "Draw around what does not belong to the look (K)",
    icon: "M3 9a5 4 0 1 1 4 2q-3 0-3 4 M10 12h4",
    act: focused((one) => one.setTool("-")),
    needs: isOpen,
    isPressed: ({ state }) => state.tool === "-",
  },
  { title: "Take back the last line (Delete)", icon: "M4 4l8 8 M12 4l-8 8", act: takeBack, needs: isDrawnOn },
  { title: "As the run has taken it (R)", icon: "M3 6h6a4 4 0 0 1 0 8H5 M6 3 3 6l3 3", act: (one) => one.write([]), needs: isDrawnOn },
];

app.registerExtension({
  name: "likeness.picture_of_look",
  nodeCreated(node) {
    if (node.comfyClass === NODE) new PictureOfLook(node).add();
  },
});
