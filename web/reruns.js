// Previews and notes that would be gone. ComfyUI sends nothing of a node whose result it still has: on a page that was
// opened since, its preview and note come from earlier runs. Newer frontends take notes away when a run ends: they come
// back. After a run that failed, notes of nodes that were not reached are about an earlier run: they go.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { find, isOurs } from "./ours.js";

const NOTES = "/likeness/notes"; // the route of bridge/routes.py
const EARLIER = "/history?max_items=32";

const noted = new Map(); // id of a node -> [the note under it, the id of its graph]
let cached = []; // ids, of the run that is under way

const graphId = () => (app.rootGraph ?? app.graph).id;
const isNode = (id) => isOurs(find(id).at(-1)?.type);
const json = async (route) => (await api.fetchApi(route)).json();
const tell = (id, text) => api.dispatchCustomEvent("progress_text", { nodeId: id, text });

/** Whether a node and all that it depends on are the same in two prompts. */
function same(id, one, other, seen = new Set()) {
  if (seen.has(id)) return true;
  seen.add(id);
  const [a, b] = [one, other].map((prompt) => JSON.stringify([prompt[id]?.class_type, prompt[id]?.inputs]));
  const sources = Object.values(one[id]?.inputs ?? {}).filter((value) => Array.isArray(value) && value.length === 2);
  return a === b && sources.every(([source]) => !one[source] || same(source, one, other, seen));
}

async function onCached({ detail: { nodes, prompt_id: run } }) {
  cached = nodes.map(String);
  const ours = cached.filter(isNode);
  const [blank, silent] = [ours.filter((id) => !app.nodeOutputs[id]), ours.filter((id) => !noted.has(id))];
  if (!blank.length && !silent.length) return;
  const [queue, earlier, notes] = await Promise.all(["/queue", EARLIER, NOTES].map(json));
  const [, , prompt, extra] = queue.queue_running.find(([, id]) => id === run) ?? earlier[run]?.prompt ?? [];
  if (extra?.extra_pnginfo?.workflow?.id !== graphId()) return; // of another tab
  const runs = Object.values(earlier).reverse(); // the newest first
  for (const id of blank) {
    const from = runs.find(({ prompt: [, , before], outputs }) => outputs[id] && same(id, prompt, before));
    const shown = { node: id, display_node: id, prompt_id: run };
    if (from) api.dispatchCustomEvent("executed", { ...shown, output: from.outputs[id] });
  }
  for (const id of silent) if (notes[id]) tell(id, notes[id]);
}

function onNote({ detail: { nodeId, text } }) {
  if (text.trim()) noted.set(String(nodeId), [text, graphId()]);
  else noted.delete(String(nodeId));
}

/** After the frontend has taken its part of the event. */
function onEnd({ type, detail: { executed = [] } }) {
  const ran = [...cached, ...executed.map(String)];
  const reached = (id) => type === "execution_success" || ran.some((one) => one === id || one.startsWith(`${id}:`));
  setTimeout(() => {
    for (const [id, [text, graph]] of noted) if (graph === graphId()) tell(id, reached(id) ? text : " ");
  }, 100);
}

app.registerExtension({
  name: "likeness.reruns",
  setup() {
    api.addEventListener("execution_cached", onCached);
    api.addEventListener("progress_text", onNote);
    for (const end of ["success", "error", "interrupted"]) api.addEventListener(`execution_${end}`, onEnd);
  },
});
