// Sentences of our code, which are English, in the language of the editor. A table of that language has each
// with a name in braces for what differs: "{path} is not there ({size})." What stands there is looked up as well, and a
// sentence that the table does not have stays English.

import { api } from "../../scripts/api.js";
import { settingOf } from "./ours.js";

const SENTENCES = "likenessSentences"; // in locales/<language>/main.json
const NAME = /\{(\w+)\}/g;
const BETWEEN = /(; | and (?=\S))/; // in a list of files

const exact = new Map(); // whole sentences without a name in them
let patterns = []; // of sentences with names, those of which most is given first

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");

function patternOf([english, form]) {
  const source = english.split(NAME).map((part, place) => (place % 2 ? `(?<${part}>.+?)` : escaped(part)));
  return { letters: english.replace(NAME, "").length, regex: new RegExp(`^${source.join("")}$`, "s"), form };
}

export async function readSentences() {
  const table = Object.entries((await api.getCustomNodesI18n())[settingOf("Comfy.Locale")]?.[SENTENCES] ?? {});
  for (const [english, form] of table) {
    if (!english.match(NAME)) exact.set(english, form);
  }
  patterns = table.filter(([english]) => english.match(NAME)).map(patternOf);
  patterns.sort((a, b) => b.letters - a.letters);
}

/** words: further translations of whole texts, such as the titles of templates. */
export function translated(text, words = new Map()) {
  if (words.has(text)) return words.get(text);
  if (exact.has(text)) return exact.get(text);
  for (const { regex, form } of patterns) {
    const values = regex.exec(text)?.groups;
    if (values) return form.replace(NAME, (_, name) => inList(values[name], words));
  }
  return text;
}

/** What stands in a sentence: one thing, or several with "; " or "and" between them. */
function inList(text, words) {
  const whole = translated(text, words);
  if (whole !== text) return whole;
  return text.split(BETWEEN).map((part, place) => (place % 2 ? part : translated(part, words))).join("");
}
