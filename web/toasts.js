// What our nodes say, where it is looked for: their errors with cause and remedy, and their notes wherever no node
// shows them. A toast shows text as it stands, no HTML of it.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const ERROR = "error";
const shown = new Map(); // by what each is about, an error or the id of a node: what takes the toast away again

function hide(about) {
  const toast = app.extensionManager.toast ?? {};
  if (shown.has(about)) (toast.dismiss ?? toast.remove)(shown.get(about));
  shown.delete(about);
}

/** One toast about each, until it is closed, its time is over, or another takes its place. */
export function show(about, severity, summary, detail, { life, styleClass } = {}) {
  const { toast } = app.extensionManager;
  if (!toast) return;
  const [kind, options] = [severity === "warn" ? "warning" : severity, { description: detail, duration: life }];
  const message = { severity, summary, detail, life, styleClass };
  hide(about);
  if (toast.dismiss) shown.set(about, toast[kind](summary, options));
  else shown.set(about, (toast.add(message), message));
}

/** The node of an id as the host knows it, "12" or "5:12" inside of subgraphs, and whether its graph is open. */
function find(id) {
  let graph = app.rootGraph ?? app.graph;
  let node;
  for (const number of String(id).split(":")) {
    graph = node?.subgraph ?? graph;
    node = graph.nodes.find((one) => String(one.id) === number);
    if (!node) break;
  }
  return { node, open: app.canvas.graph === graph };
}

const isOurs = (type) => String(type).startsWith("Likeness");
const isApp = ({ activeMode, initialMode }) => (activeMode ?? initialMode) === "app";

/** Of the error of a run, or of a prompt that was refused. */
function showError(id, type, message) {
  // Without a list of errors beside the graph, frontends open a dialog with the whole message.
  if (!app.extensionManager.setting.get("Comfy.RightSidePanel.ShowErrorsTab")) return;
  const { node } = find(id);
  // In the tab of another workflow than the one that has run the id is another node's.
  const title = node?.type === type ? node.title : LiteGraph.registered_node_types[type]?.title;
  show(ERROR, "error", title ?? "Likeness", String(message).trim());
}

function onRunError({ detail }) {
  const { node_id, node_type, exception_type, exception_message } = detail;
  if (String(exception_type).startsWith("likeness.")) showError(node_id, node_type, exception_message);
}

/** No event tells of a refused prompt: its answer is looked at on the way to the frontend. */
function watchAnswers() {
  const send = api.queuePrompt;
  api.queuePrompt = async function (...given) {
    hide(ERROR);
    try {
      return await send.apply(this, given);
    } catch (refused) {
      for (const [id, { class_type, errors = [] }] of Object.entries(refused?.response?.node_errors ?? {})) {
        const ours = errors.find(({ extra_info }) => String(extra_info?.exception_type).startsWith("likeness."));
        if (ours) showError(id, class_type, ours.details);
      }
      throw refused;
    }
  };
}

function onNote({ detail: { nodeId, text } }) {
  const { node, open } = find(nodeId);
  if (!node || !isOurs(node.type)) return;
  // Notes are HTML, all of it escaped. What is parsed here is not in the page: nothing of it is loaded or run.
  const note = new DOMParser().parseFromString(text, "text/html").documentElement.textContent.trim();
  const isSeen = open && !node.flags?.collapsed && !isApp(app.extensionManager.workflow?.activeWorkflow ?? {});
  if (note && !isSeen) show(nodeId, "warn", node.title, note);
  else hide(nodeId);
}

app.registerExtension({
  name: "likeness.toasts",
  setup() {
    api.addEventListener("execution_error", onRunError);
    api.addEventListener("execution_start", () => hide(ERROR));
    api.addEventListener("progress_text", onNote);
    watchAnswers();
  },
  beforeConfigureGraph: () => [...shown.keys()].forEach(hide), // another graph is opened
});
