// Previews and notes that would be gone. ComfyUI sends nothing of a node whose result it still has: on a page that was
// opened since, its preview and note come from earlier runs. Newer frontends take notes away when a run ends, a busy
// page later: they come back. After a run that failed, notes of nodes that it did not reach go.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { find, isOurs } from "./ours.js";

const EARLIER = "/history?max_items=32";

const noted = new Map(); // graph and node -> [its id, the note under it, the id of its graph]
const current = new Map(); // graph and node -> what the preview and note there were made from
let lookUpOnce = async () => ({}); // prompt and graph of the run that is under way, asked for where they are needed
let cached = []; // ids of its nodes
let telling = false; // a note of ours, not the server's

const graphId = () => (app.rootGraph ?? app.graph).id;
const keyOf = (id, graph) => `${graph} ${id}`;
const isNode = (id) => isOurs(find(id).at(-1)?.type);

/** What the server answers, or nothing. */
async function json(route) {
  const answer = await api.fetchApi(route).catch(() => null);
  return (answer?.ok && (await answer.json().catch(() => null))) || {};
}

function tell(id, text) {
  telling = true;
  api.dispatchCustomEvent("progress_text", { nodeId: id, text: String(text) });
  telling = false;
}

/** A node and all that it depends on, as text: what its result was made from. */
function madeFrom(id, prompt) {
  const [seen, waiting] = [new Set(), [id]];
  for (const next of waiting) {
    if (seen.has(next) || !Object.hasOwn(prompt, next)) continue;
    seen.add(next);
    const values = Object.values(prompt[next].inputs ?? {});
    waiting.push(...values.filter((value) => Array.isArray(value) && value.length === 2).map(([from]) => String(from)));
  }
  return JSON.stringify([...seen].map((one) => [one, prompt[one].class_type, prompt[one].inputs]));
}

/** The prompt of a run, and the id of the graph that it was made from. */
async function lookUp(run) {
  const waiting = (await json("/queue")).queue_running ?? [];
  const entry = waiting.find((one) => one?.[1] === run) ?? (await json(`/history/${run}`))[run]?.prompt ?? [];
  return { prompt: entry[2], graph: entry[3]?.extra_pnginfo?.workflow?.id };
}

function onStart({ detail: { prompt_id: run } }) {
  let answer;
  cached = [];
  lookUpOnce = () => (answer ??= lookUp(run));
}

async function onCached({ detail: { nodes, prompt_id: run } }) {
  cached = nodes.map(String);
  if (!cached.some(isNode)) return;
  const { prompt, graph } = await lookUpOnce();
  if (!prompt || graph !== graphId()) return; // of another tab
  const others = cached.filter((id) => isNode(id) && current.get(keyOf(id, graph)) !== madeFrom(id, prompt));
  const runs = others.length ? Object.values(await json(EARLIER)).reverse() : []; // the newest first
  if (graph !== graphId()) return;
  for (const id of others) {
    const made = madeFrom(id, prompt);
    const isSame = (one) => one?.outputs?.[id] && one.prompt?.[2] && madeFrom(id, one.prompt[2]) === made;
    const output = runs.find(isSame)?.outputs[id];
    if (output) api.dispatchCustomEvent("executed", { node: id, display_node: id, prompt_id: run, output });
    if (output?.likeness_note || noted.has(keyOf(id, graph))) tell(id, output?.likeness_note?.[0] ?? " ");
    current.set(keyOf(id, graph), made);
  }
}

function onExecuted({ detail: { node } }) {
  current.delete(keyOf(node, graphId()));
}

async function onNote({ detail: { nodeId, text } }) {
  const node = find(nodeId).at(-1);
  if (!isOurs(node?.type) && !node?.subgraph) return; // another pack's, or the host's
  const graph = telling ? graphId() : (await lookUpOnce()).graph;
  if (graph !== graphId()) return; // of another tab
  const key = keyOf(nodeId, graph);
  if (noted.get(key)?.[1] !== text) current.delete(key);
  if (text.trim()) noted.set(key, [String(nodeId), text, graph]);
  else noted.delete(key);
}

/** After the frontend has taken its part of the event: notes come back, or go where a run has failed before them. */
async function onEnd({ type, detail: { executed = [] } }) {
  const ran = [...cached, ...executed.map(String)];
  const reached = (id) => ran.some((one) => one === id || one.startsWith(`${id}:`));
  const [graph, ended] = [graphId(), lookUpOnce];
  const failed = type !== "execution_success" && noted.size && (await lookUpOnce()).graph === graph;
  const back = () => {
    if (graph !== graphId() || lookUpOnce !== ended) return; // the next run does it
    for (const [id, text, of] of [...noted.values()]) if (of === graph) tell(id, failed && !reached(id) ? " " : text);
  };
  for (const wait of [100, 2000]) setTimeout(back, wait);
}

app.registerExtension({
  name: "likeness.reruns",
  setup() {
    api.addEventListener("execution_start", onStart);
    api.addEventListener("execution_cached", onCached);
    api.addEventListener("executed", onExecuted);
    api.addEventListener("progress_text", onNote);
    for (const end of ["success", "error", "interrupted"]) api.addEventListener(`execution_${end}`, onEnd);
  },
});
