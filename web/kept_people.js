// Whom a workflow chooses who is not kept on this machine: told as it is opened, before anybody has run it. The run then
// says it too; without this file it is said there alone.

import { app } from "../../scripts/app.js";
import { allNodesOf, rootGraph } from "./ours.js";
import { readSentences, translated } from "./sentences.js";
import { show } from "./toasts.js";

const ABOUT = "kept people";
const THE_PHOTO = "the photo"; // the first choice of menus beside a photo
const WHAT_NOW =
  "The photo of their place is used, if one is linked. Put their files into models/likeness_faces, or choose others.";

const choicesOf = ({ options }) => (typeof options?.values === "function" ? options.values() : options?.values);
const isMenu = (widget) => [choicesOf(widget)].flat()[0] === THE_PHOTO;
const namesIn = (text) => String(text).split(",").map((name) => name.replaceAll('"', "").trim());

/** The names that are chosen or written and in no menu. */
function missing() {
  const widgets = allNodesOf(rootGraph()).flatMap((node) => node.widgets ?? []);
  const menus = widgets.filter(isMenu);
  if (!menus.length) return [];
  const kept = new Set(menus.flatMap(choicesOf));
  const written = widgets.filter(({ name }) => name === "more_kept").flatMap(({ value }) => namesIn(value ?? ""));
  const wished = [...menus.map(({ value }) => value), ...written];
  return [...new Set(wished)].filter((name) => name && !kept.has(name));
}

app.registerExtension({
  name: "likeness.kept_people",
  setup: readSentences,
  afterConfigureGraph() {
    // Only then do boxes have the values of the file.
    setTimeout(() => {
      const names = missing().join(", ");
      if (names) show(ABOUT, "warn", translated(`Not kept here: ${names}.`), translated(WHAT_NOW), true);
    }, 500);
  },
});
