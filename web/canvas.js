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
// quick, else by a button. What it shares with the picture of a look is in pane_on_node.js.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { allNodesOf, boxesAround, rootGraph, sourceOf } from "./ours.js";
import { drawn, lineOf } from "./picture_pane.js";
import { PaneOnNode, drawAll, fieldOf, focused, panes } from "./pane_on_node.js";
import * as hand from "./places_by_hand.js";
import { fromBack, read, shapeOf, withoutPlace, written } from "./places_shown.js";
import { translated, translatedMessage } from "./sentences.js";
import { PLACE_CAST, WHO_STANDS_WHERE, show, showSoon } from "./views.js";

const TEXT = { name: "arrange", label: "Arranged by hand (arrange)" }; // the field
const LEAST_HEAD = 12; // px of the screen; smaller ones are not pointed at
const EMPTY = { width: 1024, height: 768, places: [], people: [] };
const OFF = [2, 4]; // modes of a node that is muted or bypassed

class Canvas extends PaneOnNode {
  constructor(node) {
    super(node, TEXT, "listbox", BUTTONS);
    this.over = 0; // place over which a name is dragged
  }

  read = read;
  written = written;
  title = () => translated("Who stands where");

  /** The nodes from the outermost box to the Place Cast; none where the places come from elsewhere. */
  get source() {
    const { live } = this;
    const around = boxesAround(live.graph);
    if (live.comfyClass === PLACE_CAST) return [...around, live];
    const nodes = sourceOf(live.graph, live.inputs?.[0]?.link, around);
    return nodes.at(-1)?.comfyClass === PLACE_CAST ? nodes : [];
  }

  /** The id of the Place Cast as the host knows it. */
  get castPath() {
    return this.source.map(({ id }) => id).join(":");
  }

  get shownNode() {
    return this.source.at(-1) ?? this.live;
  }

  /** Several canvases of one Place Cast have one view. */
  get viewPath() {
    return this.castPath || this.path;
  }

  /** {node, widget} that have the text; nothing where a link sets it. A Place Cast in a box has none where a box does. */
  get field() {
    const nodes = this.live.comfyClass === PLACE_CAST ? [this.live] : this.source;
    return nodes.length ? fieldOf(nodes, TEXT.name) : {};
  }

  get text() {
    return this.field.widget ? super.text : String(this.data?.arrange ?? "");
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
    return [ground, ...shapes, ...lineOf(pen, pixel)];
  }

  described({ number, person, edit }) {
    const name = person?.name ?? translated("nobody");
    if (edit.out) return translated("This place is taken out.");
    return translated(`Chosen: ${name}, place ${number}.`);
  }

  draw() {
    super.draw();
    // What was asked for was another workflow's, as the editor knew then.
    if (!this.data && !this.view.asked) showSoon(canvases);
    const { chosen } = this.state;
    this.pane.svg.setAttribute("aria-activedescendant", chosen ? `likeness-${this.path}-${chosen}` : "");
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
    const { source, live, view } = this;
    if (!source.length && (live.inputs?.[0]?.link ?? null) === null) return translated("Connect the output Cast of Place Cast, or of the box that it is in.");
    if (!source.length) return translated("These places come from another node than Place Cast: they cannot be changed here.");
    const why = this.whyNoText();
    if (why) return why;
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
}

const isOne = (canvas) => Boolean(canvas.chosenPlace()) && !canvas.isLocked;
const isThere = (canvas) => isOne(canvas) && !canvas.chosenPlace().edit.out;
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

const canvases = () => panes().filter((one) => one instanceof Canvas);

app.registerExtension({
  name: "likeness.canvas",
  setup() {
    api.addEventListener("graphChanged", () => {
      drawAll(); // a text was changed elsewhere: on a box, inside of it, by another canvas
      showSoon(canvases);
    });
  },
  nodeCreated(node) {
    if ([PLACE_CAST, WHO_STANDS_WHERE].includes(node.comfyClass)) new Canvas(node).add();
  },
  afterConfigureGraph() {
    showSoon(canvases);
  },
});
