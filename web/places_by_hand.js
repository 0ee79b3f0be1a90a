// What a hand does on the canvas: who gets the pointer, what a drag changes, and the same by keys.
//
// canvas: of canvas.js. What is chosen and seen of it stands in canvas.state, what is changed goes through canvas.change
// and canvas.write into the text. A drag shows its edits in canvas.edits until it ends.

import { ARROWS, clamp, far, fromLine, minus, movesPen, plus, rounded, thinned, times } from "./picture_pane.js";
import {
  HANDLES,
  LARGEST,
  MOST_PLACES,
  SMALLEST,
  arranged,
  bonesOf,
  cornersOf,
  fromBack,
  heldJoints,
  tagOf,
  turnerOf,
  whoStands,
} from "./places_shown.js";

const FACE = 0.65; // heads around a nose that are its face
const BODY = [0.45, 0.15]; // heads from a bone that are its body, and how much nearer the chosen person is than the others
const [STEP, LONG_STEP] = [0.05, 0.5]; // heads by an arrow, with Shift
const TURN = 5; // degrees by a key
const GROWTH = 1.05; // by a key
const TWO_DIGITS = 700; // ms in which a second digit belongs to the first
const FORK = { elbow: ["shoulder", "wrist"], knee: ["hip", "ankle"] };
const END = { wrist: ["shoulder", "elbow"], ankle: ["hip", "knee"] };

// ---- who gets the pointer

/** {place, part} at a point: a handle of the chosen person; a name; the face that is nearest in heads, whoever is in
 * front; the nearest body, of two alike the one in front. Nothing on the ground. */
export function hit(canvas, point, reach) {
  const places = fromBack(canvas.places(), canvas.edits).reverse();
  return (
    handleAt(canvas, places, point, reach) ?? nameAt(canvas, places, point) ?? faceAt(places, point) ?? bodyAt(canvas, places, point)
  );
}

function handleAt(canvas, places, point, reach) {
  const place = places.find(({ given }) => given === canvas.state.chosen);
  if (!place || place.edit.out) return undefined;
  const { pane } = canvas;
  const isSeen = (at) => pane.isSeen(at);
  if (far(point, turnerOf(place, pane.pixel(), isSeen)) < reach) return { place, part: "turn" };
  // Of a small face the middle is left to dragging it.
  const isCorner = (corner) => far(point, corner) < Math.min(reach, far(corner, place.nose) / 2);
  if (cornersOf(place).some(isCorner)) return { place, part: "scale" };
  const joints = heldJoints(place, isSeen).map(({ name, at }) => ({ name, way: far(point, at) }));
  const nearest = joints.sort((a, b) => a.way - b.way)[0];
  const isFace = far(point, place.nose) < place.head / 4;
  return nearest?.way < reach && !isFace ? { place, part: nearest.name } : undefined;
}

function nameAt(canvas, places, [x, y]) {
  const isIn = (place) => {
    const [left, top, wide, high] = tagOf(place, canvas.pane.pixel());
    return x >= left && x <= left + wide && y >= top && y <= top + high;
  };
  const place = places.find(isIn);
  return place && { place, part: "name" };
}

function faceAt(places, point) {
  const away = ({ nose, head }) => far(point, nose) / head;
  const [place] = places.filter((one) => away(one) < FACE).sort((a, b) => away(a) - away(b));
  return place && { place, part: "body" };
}

function bodyAt({ state }, places, point) {
  const away = (place) => {
    const ways = bonesOf(place).map(([from, to]) => fromLine(point, from, to) / place.head);
    return Math.min(Infinity, ...ways) - (place.given === state.chosen ? BODY[1] : 0);
  };
  const [near] = places.map((place) => ({ place, way: away(place) })).sort((a, b) => a.way - b.way);
  return near && near.way < BODY[0] ? { place: near.place, part: "body" } : undefined;
}

// ---- drags

/** What a pointer takes hold of; nothing on the ground, where the pane is panned. */
export function grab(canvas, point, reach) {
  const { state, pane } = canvas;
  if (state.tool && state.chosen && !canvas.isLocked) return pane.lassoing(point, (points) => endLasso(canvas, points));
  const found = hit(canvas, point, reach);
  canvas.choose(found?.place.given ?? 0);
  state.joint = HANDLES.includes(found?.part) ? found.part : ""; // which arrows go on to bend
  if (!found) return undefined;
  const nothing = { move: () => {} };
  if (canvas.isLocked || (found.place.edit.out && found.part !== "name")) return nothing;
  if (found.part === "name") return draggingName(canvas, found.place);
  return dragging(canvas, found, point);
}

function dragging(canvas, { place, part }, from) {
  const before = structuredClone(canvas.edits);
  return {
    move: (point, event) => {
      const edits = structuredClone(before);
      const edit = (edits[place.given] ??= {});
      if (part === "body") moveBy(canvas, place, edit, minus(point, from));
      else if (part === "scale") setScale(edit, (place.edit.scale ?? 1) * (far(point, place.nose) / (far(from, place.nose) || 1)));
      else if (part === "turn") setTurn(edit, (place.edit.turn ?? 0) + angleOf(point, place) - angleOf(from, place));
      else bend(place, edit, part, place.local(point), event.altKey);
      canvas.dragged = edits;
    },
    end: () => canvas.dragged && canvas.write(canvas.dragged),
    cancel: () => (canvas.dragged = undefined),
  };
}

/** A name that is dropped on another place: the two swap. */
function draggingName(canvas, place) {
  return {
    move: (point) => {
      const over = hit(canvas, point, 0)?.place;
      canvas.over = over && !over.edit.out && over.given !== place.given ? over.given : 0;
    },
    end: () => {
      const { over } = canvas;
      canvas.over = 0;
      if (over) swap(canvas, place.given, over);
    },
    cancel: () => (canvas.over = 0),
  };
}

/** by: px of the picture. The nose stays in the picture, else nobody gets hold of it again. */
function moveBy(canvas, { nose, place, unit }, edit, by) {
  const [wide, high] = canvas.size();
  const to = [clamp(nose[0] + by[0], 0, wide), clamp(nose[1] + by[1], 0, high)];
  edit.move = times(minus(to, place.nose), 1 / unit).map(rounded);
}

const setScale = (edit, scale) => (edit.scale = clamp(rounded(scale), SMALLEST, LARGEST));
const setTurn = (edit, turn) => (edit.turn = ((((Math.round(turn) + 180) % 360) + 360) % 360) - 180);
const angleOf = ([x, y], { nose }) => (Math.atan2(y - nose[1], x - nose[0]) * 180) / Math.PI;

/** A wrist takes its elbow along, an elbow its wrist: lengths stay, unless isFree. to: in the place's own frame. */
function bend({ own }, edit, name, to, isFree) {
  const joints = { ...edit.joints };
  const set = (joint, point) => (joints[joint] = point.map(rounded));
  const [side, kind] = name.split(" ");
  const named = (other) => `${side} ${other}`;
  const [parent, child] = FORK[kind] ?? [];
  const [root, middle] = END[kind] ?? [];
  if (isFree || (parent ? !own[named(parent)] : !root || !own[named(root)] || !own[named(middle)])) set(name, to);
  else if (parent) {
    const joint = onCircle(own[named(parent)], far(own[name], own[named(parent)]), to);
    set(name, joint);
    if (own[named(child)]) set(named(child), plus(own[named(child)], minus(joint, own[name])));
  } else {
    const [bent, end] = reaching(own[named(root)], own[named(middle)], own[name], to);
    set(named(middle), bent);
    set(name, end);
  }
  edit.joints = joints;
}

const onCircle = (middle, radius, to) => plus(middle, times(minus(to, middle), radius / (far(to, middle) || 1)));

/** The middle and the end of two bones that reach from root for a point, bent to the side to which they were. */
function reaching(root, middle, end, to) {
  const [a, b] = [far(root, middle), far(middle, end)];
  const length = clamp(far(to, root), Math.abs(a - b) + 0.01, a + b);
  const along = times(minus(to, root), 1 / (far(to, root) || 1));
  const foot = (a * a - b * b + length * length) / (2 * length);
  const out = Math.sqrt(Math.max(0, a * a - foot * foot));
  const old = minus(middle, root);
  const sideways = Math.sign(along[0] * old[1] - along[1] * old[0]) || 1;
  const bent = plus(times(along, foot), times([-along[1], along[0]], out * sideways));
  return [plus(root, bent), plus(root, times(along, length))];
}

function endLasso(canvas, points) {
  const { state } = canvas;
  const place = canvas.chosenPlace();
  const sign = state.tool;
  canvas.setTool("");
  const outline = place ? thinned(points.map(place.local)).map((point) => point.map(rounded)) : [];
  if (outline.length > 2) addOutline(canvas, sign, outline);
}

const addOutline = (canvas, sign, points) =>
  canvas.change((edit) => (edit.region = [...(edit.region ?? []), [sign, ...points.flat()]]));

// ---- what buttons and keys do

function swap(canvas, one, other) {
  const { edits, data } = canvas;
  const who = whoStands(data, edits);
  edits.who = { ...edits.who, [one]: who[other], [other]: who[one] };
  for (const given of [one, other]) if (data.places[given - 1]?.who === edits.who[given]) delete edits.who[given];
  const [a, b] = [one, other].map((given) => canvas.places().find((place) => place.given === given).number);
  canvas.choose(other);
  canvas.say(`Places ${a} and ${b} have swapped people.`);
  canvas.write(edits);
}

/** The chosen person and the one of the next or the previous place swap. */
function swapBeside(canvas, way) {
  const places = canvas.places().filter(({ number }) => number);
  const at = places.findIndex(({ given }) => given === canvas.state.chosen);
  if (at >= 0 && places.length > 1) swap(canvas, places[at].given, places.at((at + way) % places.length).given);
}

export function mirror(canvas) {
  canvas.change((edit) => (edit.mirror = !edit.mirror));
}

export function toFront(canvas) {
  const { edits } = canvas;
  const { chosen } = canvas.state;
  edits.front = [...(edits.front ?? []).filter((given) => given !== chosen), chosen];
  canvas.write(edits);
}

/** A copy of the chosen place beside it, or of the last one, for somebody who has no place yet. */
export function addPlace(canvas) {
  const { data, edits } = canvas;
  const places = canvas.places();
  const like = canvas.chosenPlace() ?? places.at(-1);
  if (!like || places.length >= MOST_PLACES) return;
  const given = Math.max(data.places.length, ...places.map((place) => place.given)) + 1;
  if (given > MOST_PLACES) return;
  const taken = new Set(Object.values(whoStands(data, edits)));
  const next = data.people.find(({ number }) => !taken.has(number));
  edits[given] = { ...structuredClone(like.edit), out: false, like: like.edit.like ?? like.given };
  const isRight = like.nose[0] < canvas.size()[0] / 2;
  moveBy(canvas, like, edits[given], [(isRight ? 2 : -2) * like.head, 0]);
  if (next && !data.castless) edits.who = { ...edits.who, [given]: next.number };
  canvas.choose(given);
  canvas.write(edits);
}

/** A place of the layout is out, or back again; one that was added is gone. */
export function takeOut(canvas) {
  const { edits, data } = canvas;
  const { chosen } = canvas.state;
  const isThere = !canvas.chosenPlace().edit.out;
  if (isThere && canvas.places().filter(({ number }) => number).length < 2) {
    canvas.say("One place has to stay.");
    return;
  }
  if (chosen <= data.places.length) {
    canvas.change((edit) => (edit.out = !edit.out));
    return;
  }
  forget(edits, chosen);
  canvas.choose(0);
  canvas.write(edits);
}

function forget(edits, given) {
  delete edits[given];
  delete edits.who?.[given];
  edits.front = (edits.front ?? []).filter((one) => one !== given);
}

/** The chosen place as the layout has it; all places where none is chosen. */
export function reset(canvas) {
  const { edits, state, data } = canvas;
  const { chosen } = state;
  if (!chosen) return canvas.write({});
  const { like } = edits[chosen] ?? {};
  const { who } = edits;
  forget(edits, chosen);
  if (like && chosen > data.places.length) {
    edits[chosen] = { like };
    if (who?.[chosen]) edits.who = { ...edits.who, [chosen]: who[chosen] };
  }
  return canvas.write(edits);
}

// ---- keys

/** By key: what it does with a chosen person. */
const ACTS = {
  "+": (canvas) => canvas.change((edit) => setScale(edit, (edit.scale ?? 1) * GROWTH)),
  "-": (canvas) => canvas.change((edit) => setScale(edit, (edit.scale ?? 1) / GROWTH)),
  "[": (canvas) => canvas.change((edit) => setTurn(edit, (edit.turn ?? 0) - TURN)),
  "]": (canvas) => canvas.change((edit) => setTurn(edit, (edit.turn ?? 0) + TURN)),
  m: mirror,
  f: toFront,
  s: (canvas) => swapBeside(canvas, 1),
  S: (canvas) => swapBeside(canvas, -1),
  Delete: takeOut,
  Backspace: takeOut,
  j: (canvas) => chooseJoint(canvas, 1),
  J: (canvas) => chooseJoint(canvas, -1),
  l: (canvas) => beginPen(canvas, "+"),
  k: (canvas) => beginPen(canvas, "-"),
};

/** Whether a plain key was for the canvas. */
export function press(canvas, event) {
  const { key, shiftKey, altKey } = event;
  const { state } = canvas;
  canvas.beginKey(key);
  if (state.pen && penKey(canvas, key, shiftKey)) return true;
  if (choosingKey(canvas, key)) return true;
  if (canvas.isLocked) return false;
  if (key === "a") addPlace(canvas);
  else if (key === "r") reset(canvas);
  else if (!canvas.chosenPlace()) return false;
  else if (ARROWS[key]) arrow(canvas, times(ARROWS[key], shiftKey ? LONG_STEP : STEP), altKey);
  else if (Object.hasOwn(ACTS, key)) ACTS[key](canvas);
  else return false;
  return true;
}

function choosingKey(canvas, key) {
  const { state } = canvas;
  const order = canvas.places().map(({ given }) => given);
  const at = order.indexOf(state.chosen);
  if (key === "PageDown") canvas.choose(order[(at + 1) % order.length] ?? 0);
  else if (key === "PageUp") canvas.choose(order.at(at > 0 ? at - 1 : -1) ?? 0);
  else if (/^\d$/.test(key)) chooseNumber(canvas, key);
  else if (key === "Escape") {
    canvas.pane.drop();
    canvas.setTool("");
    if (state.joint) state.joint = "";
    else canvas.choose(0);
  } else return false;
  return true;
}

function chooseNumber(canvas, digit) {
  const isSecond = performance.now() - (canvas.digitAt ?? -Infinity) < TWO_DIGITS;
  canvas.digitAt = performance.now();
  const numbered = (text) => canvas.places().find(({ number }) => number && number === Number(text));
  const text = `${isSecond ? canvas.digits : ""}${digit}`;
  const place = numbered(text) ?? numbered(digit);
  canvas.digits = text;
  if (place) canvas.choose(place.given);
}

/** step: heads, as one sees it. */
function arrow(canvas, step, isFree) {
  const place = canvas.chosenPlace();
  const { joint } = canvas.state;
  const by = times(step, place.head);
  if (joint && place.joints[joint]) {
    const to = place.local(plus(place.joints[joint], by));
    canvas.change((edit) => bend(place, edit, joint, to, isFree));
  } else canvas.change((edit) => moveBy(canvas, place, edit, by));
}

function chooseJoint(canvas, way) {
  const place = canvas.chosenPlace();
  const names = ["", ...HANDLES.filter((name) => place.joints[name])];
  const at = Math.max(0, names.indexOf(canvas.state.joint));
  canvas.state.joint = names.at((at + way) % names.length);
  if (canvas.state.joint) canvas.say(`Arrows bend the ${canvas.state.joint}.`);
}

/** A lasso without a mouse: a pen that arrows move and Space sets down. */
function beginPen(canvas, sign) {
  canvas.setTool(sign);
  canvas.state.pen = canvas.state.tool ? { at: [0, 0], points: [] } : undefined;
  if (canvas.state.pen) canvas.say("Arrows move the pen, Space sets a corner, Enter closes the line.");
}

function penKey(canvas, key, isLong) {
  const { state } = canvas;
  const { pen, tool } = state;
  if (key !== "Enter") return movesPen(pen, key, isLong ? LONG_STEP : 2 * STEP);
  canvas.setTool("");
  if (pen.points.length > 2) addOutline(canvas, tool, pen.points);
  return true;
}

/** The corners of the pen's line and the pen, in px of the picture; nothing without a pen. */
export function penOf(canvas) {
  const { pen } = canvas.state;
  const place = canvas.chosenPlace();
  return pen && place ? [...pen.points, pen.at].map(place.at) : [];
}

/** As `arranged`, with what stands in the text, or in the drag that goes on. */
export const placesOf = ({ data, dragged, edits }) => (data ? arranged(data, dragged ?? edits) : []);
