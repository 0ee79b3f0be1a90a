// What our nodes say, where it is looked for: their errors with cause and remedy, and their notes wherever no node
// shows them. A toast shows text as it stands, no HTML of it.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { find, inApp, isOurs, settingOf } from "./ours.js";

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

let listMissing = async () => false;
/** What tells of all missing files at once, and whether there are any. */
export const onMissing = (list) => (listMissing = list);

const isMissing = ([, , , kind]) => kind === "likeness.ModelMissing";

/** What failed, of a run or of a prompt that was refused: [id, type, message, kind of error] of each node. */
async function showErrors(nodes, noFile) {
  const listed = (noFile || nodes.some(isMissing)) && (await listMissing());
  const failed = nodes.filter((one) => !listed || !isMissing(one));
  // Without a list of errors beside the graph, frontends open a dialog with the whole message.
  if (!failed.length || !settingOf("Comfy.RightSidePanel.ShowErrorsTab")) return;
  const titles = failed.map(([id, type]) => {
    const node = find(id).at(-1);
    // In the tab of another workflow than the one that has run the id is another node's.
    return (node?.type === type ? node.title : LiteGraph.registered_node_types[type]?.title) ?? "Likeness";
  });
  show(ERROR, "error", titles.join(", "), failed.map(([, , message]) => String(message).trim()).join("\n"));
}

const isLikenessError = (type) => String(type).startsWith("likeness.");

function onRunError({ detail }) {
  const { node_id, node_type, exception_type, exception_message } = detail;
  if (isLikenessError(exception_type)) showErrors([[node_id, node_type, exception_message, exception_type]]);
}

function onRefusal(answer) {
  const failed = Object.entries(answer?.node_errors ?? {}).flatMap(([id, { class_type, errors = [] }]) => {
    const ours = errors.find(({ extra_info }) => isLikenessError(extra_info?.exception_type));
    return ours ? [[id, class_type, ours.details, ours.extra_info.exception_type]] : [];
  });
  const errors = Object.values(answer?.node_errors ?? {}).flatMap((node) => node.errors ?? []);
  showErrors(failed, errors.some(({ type }) => type === "value_not_in_list"));
}

/** No event tells of a prompt that was refused, all of it or in part: its answer is looked at on the way. */
function watchAnswers() {
  const send = api.queuePrompt;
  api.queuePrompt = async function (...given) {
    hide(ERROR);
    try {
      const answer = await send.apply(this, given);
      onRefusal(answer);
      return answer;
    } catch (refused) {
      onRefusal(refused?.response);
      throw refused;
    }
  };
}

/** A note stands under its node and under every box around it; in an app there are no nodes. */
function isSeen(nodes) {
  return !inApp() && nodes.some(({ graph, flags }) => graph === app.canvas.graph && !flags.collapsed);
}

function onNote({ detail: { nodeId, text } }) {
  const nodes = find(nodeId);
  const node = nodes.at(-1);
  if (!isOurs(node?.type) || (inApp() && node.type === "LikenessDoctor")) return; // its report says the same
  // Notes are HTML, all of it escaped. What is parsed here is not in the page: nothing of it is loaded or run.
  const note = new DOMParser().parseFromString(text, "text/html").documentElement.textContent.trim();
  if (note && !isSeen(nodes)) show(nodeId, "warn", node.title, note);
  else hide(nodeId);
}

app.registerExtension({
  name: "likeness.toasts",
  setup() {
    api.addEventListener("execution_error", onRunError);
    api.addEventListener("progress_text", onNote);
    watchAnswers();
  },
  beforeConfigureGraph: () => [...shown.keys()].forEach(hide), // another graph is opened
});
