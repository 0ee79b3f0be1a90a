// Previews and notes of nodes that ComfyUI does not run again. It sends nothing of a node whose result it still has:
// on a page that was opened since, its preview and note come from earlier runs. After a run that failed, notes of nodes
// that were not reached are about an earlier run: they go.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { find, isOurs } from "./ours.js";

const NOTES = "/likeness/notes"; // the route of bridge/routes.py
const EARLIER = "/history?max_items=32";

const noted = new Set(); // ids of nodes under which a note stands
let cached = []; // ids, of the run that is under way

const isNode = (id) => isOurs(find(id).at(-1)?.type);
const json = async (route) => (await api.fetchApi(route)).json();
const told = (id, text) => api.dispatchCustomEvent("progress_text", { nodeId: id, text });

/** Whether a node and all that it depends on are the same in two prompts. */
function same(id, one, other, seen = new Set()) {
  if (seen.has(id)) return true;
  seen.add(id);
  const [a, b] = [one, other].map((prompt) => JSON.stringify([prompt[id]?.class_type, prompt[id]?.inputs]));
  const sources = Object.values(one[id]?.inputs ?? {}).filter((value) => Array.isArray(value) && value.length === 2);
  return a === b && sources.every(([source]) => !one[source] || same(source, one, other, seen));
}

async function showPreviews(ids, run) {
  const [{ queue_running: running }, earlier] = await Promise.all([json("/queue"), json(EARLIER)]);
  const prompt = running.find(([, id]) => id === run)?.[2] ?? earlier[run]?.prompt[2];
  const runs = Object.values(earlier).reverse(); // the newest first
  for (const id of prompt ? ids : []) {
    const from = runs.find(({ prompt: [, , before], outputs }) => outputs[id] && same(id, prompt, before));
    const shown = { node: id, display_node: id, prompt_id: run };
    if (from) api.dispatchCustomEvent("executed", { ...shown, output: from.outputs[id] });
  }
}

async function showNotes(ids) {
  const notes = await json(NOTES);
  for (const id of ids) if (notes[id]) told(id, notes[id]);
}

function onCached({ detail: { nodes, prompt_id: run } }) {
  cached = nodes.map(String);
  const ours = cached.filter(isNode);
  const blank = ours.filter((id) => !app.nodeOutputs[id]);
  if (blank.length) showPreviews(blank, run);
  const silent = ours.filter((id) => !noted.has(id));
  if (silent.length) showNotes(silent);
}

function onNote({ detail: { nodeId, text } }) {
  if (text.trim()) noted.add(String(nodeId));
  else noted.delete(String(nodeId));
}

function onError({ detail: { executed } }) {
  const ran = [...cached, ...executed.map(String)];
  for (const id of noted) if (!ran.some((one) => one === id || one.startsWith(`${id}:`))) told(id, " ");
}

app.registerExtension({
  name: "likeness.reruns",
  setup() {
    api.addEventListener("execution_cached", onCached);
    api.addEventListener("progress_text", onNote);
    api.addEventListener("execution_error", onError);
  },
});
