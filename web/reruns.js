// Previews and notes that would be gone. ComfyUI sends nothing of a node whose result it still has: on a page that was
// opened since, its preview and note come from earlier runs. Newer frontends take notes away when a run ends: they come
// back. After a run that failed, notes of nodes that were not reached are about an earlier run: they go.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { find, isOurs } from "./ours.js";

const EARLIER = "/history?max_items=32";

const noted = new Map(); // id of a node -> [the note under it, the id of its graph]
const current = new Map(); // graph and node -> what the preview and note there were made from
let cached = []; // ids, of the run that is under way
let telling = false; // a note of ours, not the server's

const graphId = () => (app.rootGraph ?? app.graph).id;
const keyOf = (id) => `${graphId()} ${id}`;
const isNode = (id) => isOurs(find(id).at(-1)?.type);
const json = async (route) => (await api.fetchApi(route)).json();

function tell(id, text) {
  telling = true;
  api.dispatchCustomEvent("progress_text", { nodeId: id, text });
  telling = false;
}

/** A node and all that it depends on, as text: what its result was made from. */
function madeFrom(id, prompt, seen = new Set()) {
  const node = prompt[id];
  if (!node || seen.has(id)) return "";
  seen.add(id);
  const links = Object.values(node.inputs).filter((value) => Array.isArray(value) && value.length === 2);
  return JSON.stringify([id, node.class_type, node.inputs]) + links.map(([from]) => madeFrom(from, prompt, seen)).join("");
}

/** The prompt of a run of the graph that is shown, or nothing. */
async function promptOf(run) {
  const running = (await json("/queue")).queue_running.find(([, id]) => id === run);
  const [, , prompt, extra] = running ?? (await json(`/history/${run}`))[run]?.prompt ?? [];
  return extra?.extra_pnginfo?.workflow?.id === graphId() ? prompt : undefined;
}

async function onCached({ detail: { nodes, prompt_id: run } }) {
  cached = nodes.map(String);
  const ours = cached.filter(isNode);
  const prompt = ours.length ? await promptOf(run) : undefined;
  const others = prompt ? ours.filter((id) => current.get(keyOf(id)) !== madeFrom(id, prompt)) : [];
  const runs = others.length ? Object.values(await json(EARLIER)).reverse() : []; // the newest first
  for (const id of others) {
    const made = madeFrom(id, prompt);
    const from = runs.find(({ prompt: [, , before], outputs }) => outputs[id] && madeFrom(id, before) === made);
    const output = from?.outputs[id];
    if (output) api.dispatchCustomEvent("executed", { node: id, display_node: id, prompt_id: run, output });
    if (output?.likeness_note || noted.has(id)) tell(id, output?.likeness_note?.[0] ?? " ");
    current.set(keyOf(id), made);
  }
}

function onExecuted({ detail: { node } }) {
  current.delete(keyOf(node));
}

function onNote({ detail: { nodeId, text } }) {
  const node = find(nodeId).at(-1);
  if (!isOurs(node?.type) && !node?.subgraph) return; // other packs' notes, and the host's
  if (text.trim()) noted.set(String(nodeId), [text, graphId()]);
  else noted.delete(String(nodeId));
  if (!telling) current.delete(keyOf(nodeId));
}

/** After the frontend has taken its part of the event: notes come back, or go where a run has failed before them. */
async function onEnd({ type, detail: { prompt_id: run, executed = [] } }) {
  const ran = [...cached, ...executed.map(String)];
  const reached = (id) => ran.some((one) => one === id || one.startsWith(`${id}:`));
  const failed = type !== "execution_success" && (await promptOf(run));
  setTimeout(() => {
    for (const [id, [text, graph]] of [...noted])
      if (graph === graphId()) tell(id, failed && !reached(id) ? " " : text);
  }, 100);
}

app.registerExtension({
  name: "likeness.reruns",
  setup() {
    api.addEventListener("execution_cached", onCached);
    api.addEventListener("executed", onExecuted);
    api.addEventListener("progress_text", onNote);
    for (const end of ["success", "error", "interrupted"]) api.addEventListener(`execution_${end}`, onEnd);
  },
});
