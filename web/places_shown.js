// What the canvas draws: the places of a run, with the edits of a text on them.
//
// The text is JSON by the number of a place as the layout gives it, lengths in heads of that place from its nose, x to the
// right, y down: core/places/arranging.py says all of it, and both sides are tested by tests/support/arranged.json. The
// order in which a place is changed: joints, mirror, scale, turn, move, all in its own frame. Joints and regions are in
// the frame before the mirror.

import { api } from "../../scripts/api.js";
import { LONGEST_TEXT, areOutlines, drawn, isNumber, minus, plus, pointsOf, rotated, times } from "./picture_pane.js";

const SIDES = ["left", "right"]; // the person's own
const BENT = ["shoulder", "elbow", "wrist", "hip", "knee", "ankle"];
export const HANDLES = SIDES.flatMap((side) => BENT.map((kind) => `${side} ${kind}`));
const JOINTS = ["nose", ...SIDES.flatMap((side) => [`${side} eye`, `${side} ear`]), ...HANDLES];
const ONE_SIDE = [["neck", "shoulder"], ["shoulder", "elbow"], ["elbow", "wrist"], ["neck", "hip"], ["hip", "knee"], ["knee", "ankle"]];
const BEFORE = Object.fromEntries(ONE_SIDE.map(([from, to]) => [to, from]));
const LIMBS = [
  ["neck", "nose"],
  ...SIDES.flatMap((side) => ONE_SIDE.map((pair) => pair.map((kind) => (kind === "neck" ? kind : `${side} ${kind}`)))),
];
const FINGERS = [1, 5, 9, 13, 17]; // the first of the four points of each; 0 is the wrist
const UNKNOWN_BOX = [-0.35, -0.5, 0.35, 0.5]; // heads; of a place of which only a point is known

export const MOST_PLACES = 64;
const FULL_TURN = 360; // degrees
export const [SMALLEST, LARGEST] = [0.05, 20]; // of a scale

const isPoint = (value) => Array.isArray(value) && value.length === 2 && value.every((one) => isNumber(one));
const isFlag = (value) => typeof value === "boolean";
const isTable = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isPlace = (value) => Number.isInteger(value) && value >= 1 && value <= MOST_PLACES;
const isKey = (key) => /^[1-9]\d?$/.test(key) && isPlace(Number(key));

const KINDS = new Map(
  Object.entries({
    move: isPoint,
    scale: (value) => isNumber(value) && value >= SMALLEST && value <= LARGEST,
    turn: (value) => isNumber(value, FULL_TURN),
    mirror: isFlag,
    joints: (value) => isTable(value) && Object.entries(value).every(([name, to]) => JOINTS.includes(name) && isPoint(to)),
    region: areOutlines,
    out: isFlag,
    like: isPlace,
  }),
);
const isEdit = (value, key) =>
  isTable(value) && value.like !== Number(key) && Object.entries(value).every(([name, said]) => KINDS.get(name)?.(said));
const isWho = (value) =>
  isTable(value) && Object.entries(value).every(([key, who]) => isKey(key) && (who === 0 || isPlace(who)));
const isFront = (value) => Array.isArray(value) && value.every(isPlace) && new Set(value).size === value.length;

/** The edits of a text by the numbers of places, beside them `who` and `front`; undefined where a run refuses it. */
export function read(text) {
  if (typeof text !== "string" || text.length > LONGEST_TEXT) return undefined;
  if (!text.trim()) return {};
  try {
    const edits = JSON.parse(text);
    const isRead = ([key, value]) =>
      key === "who" ? isWho(value) : key === "front" ? isFront(value) : isKey(key) && isEdit(value, key);
    return isTable(edits) && Object.entries(edits).every(isRead) ? edits : undefined;
  } catch {
    return undefined;
  }
}

/** Whether what is said of a place changes nothing. */
function isIdle([name, said]) {
  if (name === "scale") return said === 1;
  if (name === "like") return false;
  if (Array.isArray(said)) return !said.some(Boolean);
  return typeof said === "object" ? !Object.keys(said).length : !said;
}

/** Without what changes nothing; the empty text where nothing is changed. */
export function written(edits) {
  const kept = {};
  for (const [key, value] of Object.entries(edits)) {
    const isOfPlace = isKey(key);
    const said = isOfPlace ? Object.fromEntries(Object.entries(value).filter((one) => !isIdle(one))) : value;
    if (Object.keys(said).length) kept[key] = said;
  }
  return Object.keys(kept).length ? JSON.stringify(kept) : "";
}

/** [number in the text, place of the run]: of the layout, then those that the text adds, copies of such. */
function listed({ places, castless }, edits) {
  let last = places.length; // without a cast every place has a person of its own
  const all = places.map((place, index) => [index + 1, place]);
  for (const [key, { like, out }] of Object.entries(edits)) {
    if (Number(key) <= places.length || !places[like - 1]) continue;
    if (!out) last += 1;
    all.push([Number(key), { ...places[like - 1], who: castless && !out ? last : 0 }]);
  }
  return all;
}

/** What is said of a place. Of one that the layout has, nothing of what was meant for a new one. */
const editOf = ({ places }, edits, given) => (edits[given] && (given > places.length || !edits[given].like) ? edits[given] : {});

/** Those of the run, and without a cast those of places that were added since. */
function peopleOf(data, edits) {
  if (!data.castless) return data.people;
  const count = data.places.length;
  const added = listed(data, edits).slice(count).filter(([, { who }]) => who);
  const made = added.map(([, { who: number }]) => ({ number, name: `person ${number}`, face: null }));
  return [...data.people.slice(0, count), ...made];
}

/** Number of a place in the text -> number of its person in the list, 0 for nobody. Nobody stands twice: places of which
 * the text says who is there come before the others. */
export function whoStands(data, edits) {
  const { who: said = {} } = edits;
  const isNamed = ([given]) => Object.hasOwn(said, given);
  const places = listed(data, edits);
  const who = Object.fromEntries(places.map(([given]) => [given, 0]));
  const inPlaces = places.filter(([given]) => !editOf(data, edits, given).out);
  const people = peopleOf(data, edits);
  const taken = new Set();
  for (const one of [...inPlaces.filter(isNamed), ...inPlaces.filter((other) => !isNamed(other))]) {
    const [given, place] = one;
    const wanted = isNamed(one) ? said[given] : place.who;
    if (taken.has(wanted) || !people.some(({ number }) => number === wanted)) continue;
    who[given] = wanted;
    taken.add(wanted);
  }
  return who;
}

/** Numbers of places of which the text says something and which there are not. */
export function withoutPlace(data, edits) {
  const known = new Set(listed(data, edits).map(([given]) => given));
  const keys = [...Object.keys(edits), ...Object.keys(edits.who ?? {})].filter(isKey).map(Number);
  const named = new Set([...keys, ...(edits.front ?? [])]);
  return [...named].filter((given) => !known.has(given) && !edits[given]?.out).sort((a, b) => a - b);
}

/** What a hand does when its arm is bent: it goes along with the wrist, and turns with the forearm. */
function handOf(points, side, { joints }, bent) {
  const [wrist, elbow] = [`${side} wrist`, `${side} elbow`];
  if (!points || !joints[wrist]) return points;
  const angle = (of) => (of[elbow] ? Math.atan2(of[wrist][1] - of[elbow][1], of[wrist][0] - of[elbow][0]) : 0);
  const turn = ((angle(bent) - angle(joints)) * 180) / Math.PI;
  return points.map((point) => plus(bent[wrist], rotated(minus(point, joints[wrist]), turn)));
}

/**
 * Places as they are after the edits of a text, in px of the picture.
 *
 * data: what a run has sent, {width, height, places, people}. edits: of `read`. Of each place: given, its number in the
 * text; number, that of what comes out, 0 where it was taken out; nose; head and unit, px of a head after and before a
 * scale; joints, hands, outlines, box (upright); person; edit; own, joints in its own frame; at and local, from that
 * frame to px and back.
 */
export function arranged(data, edits) {
  const who = whoStands(data, edits);
  const people = peopleOf(data, edits);
  let last = 0;
  return listed(data, edits).map(([given, place]) => {
    const edit = editOf(data, edits, given);
    const number = edit.out ? 0 : (last += 1);
    const frame = frameOf(place, edit);
    const own = Object.keys(place.joints).length ? { ...place.joints, ...edit.joints } : {};
    const box = place.box ?? UNKNOWN_BOX;
    const person = people.find((one) => one.number === who[given]);
    const color = data.colors?.[(number || given) - 1] ?? place.color ?? "#bbbbbb";
    return { given, number, place, edit, own, box, person, color, ...frame, ...inPixels(place, edit, own, frame) };
  });
}

/** Where a place's own frame lies: {nose, head, unit, at, local}. */
function frameOf(place, edit) {
  const [unit, head] = [place.head, place.head * (edit.scale ?? 1)];
  const turn = edit.turn ?? 0;
  const side = edit.mirror ? -1 : 1;
  const nose = plus(place.nose, times(edit.move ?? [0, 0], unit));
  const at = ([x, y]) => plus(nose, rotated([x * head * side, y * head], turn));
  const local = (point) => {
    const [x, y] = rotated(minus(point, nose), -turn);
    return [(x / head) * side, y / head];
  };
  return { nose, head, unit, at, local };
}

function inPixels(place, edit, own, { at, head }) {
  const mapped = (points) => Object.fromEntries(Object.entries(points).map(([name, point]) => [name, at(point)]));
  const joints = mapped(own);
  const [left, right] = SIDES.map((side) => joints[`${side} shoulder`]);
  const neck = left && right ? { neck: times(plus(left, right), 0.5) } : {};
  const hands = {};
  for (const side of SIDES) {
    const hand = handOf(place.hands?.[side], side, place, own);
    if (hand) hands[side] = hand.map(at);
  }
  const outlines = (edit.region ?? []).map((one) => ({ sign: one[0], points: pointsOf(one).map(at) }));
  return { joints: { ...joints, ...neck }, hands, outlines, faceBox: faceBoxOf(place, at, head) };
}

/** Upright around the same middle of the face, as a run takes it; nothing where only a point is known. */
function faceBoxOf({ box, head: unit }, at, head) {
  if (!box) return undefined;
  const [x, y] = at([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]);
  const [wide, high] = [box[2] - box[0], box[3] - box[1]].map((side) => (side / 2) * head);
  return unit && [x - wide, y - high, x + wide, y + high];
}

/** From back to front; who is not named stands behind those who are. */
export function fromBack(places, edits) {
  const depth = ({ given }) => edits.front?.lastIndexOf(given) ?? -1;
  return [...places].sort((a, b) => depth(a) - depth(b));
}

/** The bones of a place that there are, each as two points. */
export const bonesOf = ({ joints }) =>
  LIMBS.filter(([from, to]) => joints[from] && joints[to]).map(([from, to]) => [joints[from], joints[to]]);

export const cornersOf = ({ box: [x0, y0, x1, y1], at }) => [[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map(at);

/** What stands over a place: its number and who is there. */
export const nameOf = ({ number, person }) => (number ? `${number} ${person?.name ?? ""}`.trim() : "×");

const TAG = 13; // px of the node that letters of a name are high
const isWide = (letter) => letter > "\u2e7f";

/** Where the name of a place is, in px of the picture: [left, top, width, height]. pixel: of the node, in the picture's. */
export function tagOf(place, pixel) {
  const corners = cornersOf(place);
  const letters = [...nameOf(place)].map((letter) => (isWide(letter) ? TAG : TAG * 0.56));
  const [wide, high] = [letters.reduce((sum, one) => sum + one, 4) * pixel, TAG * 1.3 * pixel];
  return [Math.min(...corners.map(([x]) => x)), Math.min(...corners.map(([, y]) => y)) - high, wide, high];
}

/** Where a person is turned: above the face, or below it where that is out of sight. */
export function turnerOf({ at, box, head }, pixel, isSeen) {
  const away = (34 * pixel) / head;
  const above = at([0, box[1] - away]);
  return isSeen(above) ? above : at([0, box[3] + away]);
}

/** Where one takes hold of the joints, {name, at} each: of a limb that ends out of sight, as arms below a bust do, where
 * it leaves what is seen. */
export function heldJoints({ joints }, isSeen) {
  const held = (name) => {
    const [side, kind] = name.split(" ");
    const before = joints[`${side} ${BEFORE[kind]}`];
    if (!before || isSeen(joints[name]) || !isSeen(before)) return joints[name];
    let [seen, unseen] = [before, joints[name]];
    for (let step = 0; step < 10; step += 1) {
      const middle = times(plus(seen, unseen), 0.5);
      if (isSeen(middle)) seen = middle;
      else unseen = middle;
    }
    return plus(before, times(minus(seen, before), 0.8)); // not at the very edge
  };
  return HANDLES.filter((name) => joints[name]).map((name) => ({ name, at: held(name) }));
}

// ---- shapes

/** @type {(ends: any, stroke: string, width: number) => SVGElement} */
function bone([from, to], stroke, width) {
  const ends = { x1: from[0], y1: from[1], x2: to[0], y2: to[1] };
  return drawn("line", { ...ends, stroke, "stroke-width": width, "stroke-linecap": "round" });
}
const circle = ([cx, cy], r, fill, stroke, width = 0) => drawn("circle", { cx, cy, r, fill, stroke, "stroke-width": width });

function outline({ sign, points }, color, pixel) {
  const look = sign === "+" ? { fill: `${color}55` } : { fill: "#000a", "stroke-dasharray": 4 * pixel };
  return drawn("polygon", { points: points.join(" "), stroke: color, "stroke-width": pixel, ...look });
}

function skeleton(place, color, width) {
  const fingers = Object.values(place.hands).flatMap((hand) =>
    FINGERS.map((first) => [hand[0], ...hand.slice(first, first + 4)]),
  );
  const bones = bonesOf(place).map((ends) => bone(ends, color, width));
  const look = { fill: "none", stroke: color, "stroke-width": width / 3, "stroke-linejoin": "round" };
  return [...bones, ...fingers.map((points) => drawn("polyline", { points: points.join(" "), ...look }))];
}

/** The face of a photo in its box, turned and mirrored as the person is. images: those that were drawn before. */
function face(place, images) {
  const { given, person, box, nose, head, edit } = place;
  const href = person?.face && api.apiURL(`/view?${new URLSearchParams(person.face)}`);
  if (!href) return [];
  const key = `${given} ${href}`;
  if (!images.has(key)) {
    const image = drawn("image", { href, preserveAspectRatio: "xMidYMid slice" });
    image.addEventListener("error", () => image.remove()); // the host was started anew: its file is gone
    images.set(key, image);
  }
  const image = images.get(key);
  const mirrored = edit.mirror ? ` translate(${2 * nose[0]} 0) scale(-1 1)` : "";
  const where = {
    x: nose[0] + box[0] * head,
    y: nose[1] + box[1] * head,
    width: (box[2] - box[0]) * head,
    height: (box[3] - box[1]) * head,
    transform: `rotate(${edit.turn ?? 0} ${nose})${mirrored}`,
  };
  for (const [name, value] of Object.entries(where)) image.setAttribute(name, value);
  return [image];
}

function tag(place, color, pixel) {
  const [x, y, , high] = tagOf(place, pixel);
  const look = { fill: color, stroke: "#000", "stroke-width": 3 * pixel, "paint-order": "stroke" };
  const text = drawn("text", { x: x + 2 * pixel, y: y + high * 0.78, "font-size": TAG * pixel, ...look });
  text.textContent = nameOf(place); // never as HTML
  return text;
}

/** What one takes hold of on the chosen person. joint: the one that keys bend. */
function handles(place, color, pixel, joint, isSeen) {
  const corners = cornersOf(place).map(([x, y]) => {
    const side = 8 * pixel;
    return drawn("rect", { x: x - side / 2, y: y - side / 2, width: side, height: side, fill: color });
  });
  const bent = heldJoints(place, isSeen).map(({ name, at }) =>
    circle(at, 4.5 * pixel, name === joint ? "#fff" : "#000", color, 2 * pixel),
  );
  return [...bent, ...corners, circle(turnerOf(place, pixel, isSeen), 6 * pixel, color, "#000", pixel)];
}

/** A place as one sees it. look: {id, label, pixel, images, isChosen, isOver, joint, isSeen}. */
export function shapeOf(place, look) {
  const { pixel, isChosen } = look;
  const { color } = place;
  const group = drawn("g", { id: look.id, role: "option", "aria-selected": isChosen, "aria-label": look.label });
  if (place.edit.out) group.setAttribute("opacity", "0.4");
  const width = (isChosen ? 4.5 : 3) * pixel;
  group.append(...place.outlines.map((one) => outline(one, color, pixel)), ...skeleton(place, color, width));
  group.append(...face(place, look.images));
  const frame = { points: cornersOf(place).join(" "), fill: look.isOver ? `${color}88` : "none", stroke: color };
  const dashes = place.edit.out ? { "stroke-dasharray": 5 * pixel } : {};
  group.append(drawn("polygon", { ...frame, ...dashes, "stroke-width": (isChosen ? 3 : 1.5) * pixel }));
  group.append(tag(place, color, pixel));
  if (isChosen && !place.edit.out) group.append(...handles(place, color, pixel, look.joint, look.isSeen));
  return group;
}

