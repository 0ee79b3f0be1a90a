// Which model files are missing: what Check Model Files finds as a table with links, and a toast that names all of them
// where a workflow is opened, or run, that lacks some, with the same table of that workflow behind its button. Nothing
// here changes what is saved or sent: without this file the node shows the same as a picture.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { onMissing } from "./errors.js";
import { activeWorkflow, find, inApp, link, made, nodesOf, settingOf, someAreOurs, templateTitles } from "./ours.js";
import { readSentences, translated } from "./sentences.js";
import { hide, isShown, show } from "./toasts.js"; // which takes a toast away where another workflow is opened

const CHECK_MODEL_FILES = "LikenessCheckModelFiles";
const REPORT = "likeness_doctor"; // beside the picture in what nodes/check_files.py sends
const MISSING = "/likeness/missing"; // the route of bridge/host/routes.py
const OLDER = "older ComfyUI"; // what the toast is about
const SIZE = [720, 640]; // of a node that shows a table, at least
const ABOVE = 240; // pixels for its sockets, its menu and the note

let titles = new Map(); // of templates, by the names of their files

/** Sentences in the language of the editor; a template is called by its title. */
const shown = (sentences) => [sentences].flat().map((sentence) => translated(sentence, titles)).join(" ");

// The table

const QUIET = "color: var(--descrip-text, #999)";
const [RED, AMBER, GREEN] = ["#ff8278", "#e69f00", "#00be82"];
const STATES = {
  "in the wrong place": AMBER,
  "under another name": AMBER,
  "in another spelling": AMBER,
  found: GREEN,
  ok: GREEN,
  note: GREEN,
};

const isAddress = (url) => url.startsWith("https://");

function row({ what, state, size, url, where, details }) {
  const colour = STATES[state] ?? RED;
  const about = size && state !== "found" ? `${shown(state)} · ${shown(size)}` : shown(state);
  const left = made("td", [made("div", shown(what)), made("div", about, `color: ${colour}`)]);
  left.style.cssText = "width: 30%; padding: 4px 12px 4px 0; vertical-align: top";
  const texts = [shown(where), shown(details)].filter(Boolean);
  const lines = texts.map((text) => made("div", text, `${QUIET}; overflow-wrap: anywhere`));
  const right = made("td", [...(isAddress(url) ? [link(url)] : []), ...lines], "padding: 4px 0; vertical-align: top");
  return made("tr", [left, right], "border-top: 1px solid var(--border-color, #4e4e4e)");
}

/** What is in order is folded away beside what is not. */
function section({ title, findings }, alone) {
  const part = made("details", [
    made("summary", `${shown(title)} (${findings.length})`, "font-weight: bold; cursor: pointer; padding: 6px 0"),
    made("table", findings.map(row), "width: 100%; table-layout: fixed; border-collapse: collapse; margin-bottom: 8px"),
  ]);
  part.open = alone || title !== "In place";
  return part;
}

/** Without https, which most hosts at home lack, browsers give no clipboard: there a selected text is copied. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = made("textarea", text, "position: fixed; opacity: 0");
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

function button(text, onclick) {
  const frame = "background: var(--comfy-input-bg, #222); border: 1px solid var(--border-color, #4e4e4e)";
  const element = made("button", text, `margin-right: 8px; padding: 4px 12px; border-radius: 6px; ${frame}`);
  return Object.assign(element, { onclick });
}

const copyButton = (name, lines) =>
  button(shown(name), async ({ currentTarget: pressed }) => {
    await copy(lines.join("\n"));
    pressed.textContent = shown("Copied");
    setTimeout(() => (pressed.textContent = shown(name)), 1500);
  });

function table({ summary, sections, commands }) {
  const urls = sections.flatMap(({ findings }) => findings.map(({ url }) => url)).filter(isAddress);
  const buttons = [
    ...(urls.length ? [copyButton("Copy addresses", [...new Set(urls)])] : []),
    ...(commands.length ? [copyButton("Copy commands", commands)] : []),
  ];
  return [
    made("div", buttons, "margin-bottom: 4px"),
    ...sections.map((part) => section(part, sections.length === 1)),
    made("div", shown(summary), QUIET),
  ];
}

const tables = new WeakMap(); // node -> the report in its table, and where it is drawn

function addTable(node) {
  // It takes the room there is and scrolls: with Vue nodes a node is else as long as its table.
  const pane = made("div", "", "position: absolute; inset: 0; overflow: auto; padding: 8px; user-select: text");
  pane.style.cssText += "; color: var(--input-text, #ddd); background: var(--comfy-menu-bg, #202020)";
  pane.style.cssText += "; font-size: 13px; line-height: 1.4";
  pane.tabIndex = 0; // with Vue nodes the wheel scrolls what has been clicked, else the canvas
  pane.dataset.captureWheel = "true";
  node.setSize([Math.max(node.size[0], SIZE[0]), Math.max(node.size[1], SIZE[1])]);
  const least = node.size[1] - ABOVE;
  const frame = made("div", pane, `position: relative; height: 100%; min-height: ${least}px`);
  const widget = node.addDOMWidget(REPORT, "likeness_table", frame, { serialize: false, getMinHeight: () => least });
  widget.serialize = false;
  node.hideOutputImages = true; // with Vue nodes
  return pane;
}

/** The report of a node's last run as its table; false where there is none. */
function showReport(node, output = app.nodeOutputs?.[node.id] ?? app.nodeOutputs?.[`${node.graph?.id}:${node.id}`]) {
  const report = output?.[REPORT]?.[0];
  if (!report) return false;
  const before = tables.get(node);
  if (before?.report !== report) {
    const pane = before?.pane ?? addTable(node);
    pane.replaceChildren(...table(JSON.parse(report)));
    tables.set(node, { report, pane });
  }
  return true;
}

/** The table in a window of its own: of an app, which has no nodes, and of a workflow that has no node for it. */
function openWindow(report) {
  const close = made("button", shown("Close"), "float: right; padding: 4px 12px");
  const pane = made("dialog", [close, ...table(report)], "margin: auto; width: min(900px, 90vw)");
  pane.style.cssText += "; padding: 16px; max-height: 85vh; overflow: auto; user-select: text; font-size: 13px; line-height: 1.4";
  pane.style.cssText += "; color: var(--input-text, #ddd); background: var(--comfy-menu-bg, #202020)";
  close.onclick = () => pane.close();
  pane.onclose = () => pane.remove();
  document.body.append(pane);
  pane.showModal();
}

function extendCheckModelFiles(prototype) {
  const { onExecuted, onDrawBackground } = prototype;
  prototype.onExecuted = function (output) {
    onExecuted?.apply(this, arguments);
    if (showReport(this, output) && inApp()) openWindow(JSON.parse(output[REPORT][0]));
  };
  // Classic nodes show their picture here, also that of a run before the workflow's tab was left.
  prototype.onDrawBackground = function () {
    if (!showReport(this)) onDrawBackground?.apply(this, arguments);
  };
}

// The toast

const NAMED = 8; // as many files as a toast has room for

const NOTHING = { names: [] };
const lacking = new WeakMap(); // workflow -> what it lacks; NOTHING once somebody has closed the toast, or a run succeeded
let told = ""; // the answer of the host that the toast is of
let asked = ""; // what the nodes were set to when the host was asked last

/** The whole toast is of one language; only names of files stay as they are. unasked: nobody has pressed Run. */
function tell(missing, unasked) {
  const { names, size, unsized, all_missing: allMissing, report } = missing;
  const [number, rest] = [names.length, names.length - NAMED];
  const files = number === 1 ? "One file is missing" : `${number} files are missing`;
  const summary = shown(allMissing ? files : `${files} or not in order`);
  told = JSON.stringify(missing);
  let list = names.slice(0, NAMED).join(", ");
  if (rest > 0) list += shown(` and ${rest} more`);
  const unknown = unsized === 1 ? "the size of one file is not stated" : `the sizes of ${unsized} files are not stated`;
  let download = "";
  if (size && unsized) download = `To download: at least ${size}; ${unknown}.`;
  else if (size) download = `To download: ${size}.`;
  else if (unsized) download = unsized === 1 ? "The size is not stated." : "The sizes are not stated.";
  const way = button(shown("Links and folders"), () => openWindow(report));
  way.style.cssText += "; display: block; margin: 8px 0 0; pointer-events: auto; cursor: pointer";
  show(MISSING, "warn", summary, [`${list}. ${shown(download)}`, way], unasked, settle);
}

/** That this ComfyUI is too old for a model of the workflow: its own loaders name neither. */
function tellOlder({ older }) {
  if (older) show(OLDER, "warn", shown(older), shown("Update ComfyUI."), true, settle);
}

/** Of the open workflow no more is said when its tab is shown again. */
function settle() {
  const workflow = activeWorkflow();
  if (workflow) lacking.set(workflow, NOTHING);
}

const openGraph = () => (app.rootGraph ?? app.graph).serialize();

/** Values, and which nodes are switched off. */
const settingsOf = (graph) => JSON.stringify(nodesOf(graph).map(({ mode, widgets_values: values }) => [mode, values]));

/** What the editor makes of the open workflow to run it. A node that it does not know gets its type: it may be one of
 * ours that is gone. */
async function openPrompt() {
  const { output } = await app.graphToPrompt();
  for (const [id, node] of Object.entries(output)) node.class_type ??= find(id).at(-1)?.type;
  return output;
}

/** What the open workflow lacks, where it has nodes of ours. */
async function missingHere(workflow) {
  const graph = openGraph();
  asked = settingsOf(graph);
  if (!someAreOurs(nodesOf(graph))) return NOTHING;
  const prompt = await openPrompt().catch(() => undefined);
  if (!prompt) return NOTHING; // the graph was changed meanwhile
  const answer = await api.fetchApi(MISSING, { method: "POST", body: JSON.stringify(prompt) });
  const missing = answer.ok ? await answer.json() : NOTHING;
  if (workflow) lacking.set(workflow, missing);
  return missing;
}

/** After a run that lacks a file. */
async function tellAll() {
  const missing = await missingHere(activeWorkflow());
  if (missing.names.length) tell(missing, false);
  return missing.names.length > 0;
}

const isAnyShown = () => isShown(MISSING) || isShown(OLDER);

/** R has been pressed, as files may have come; or others have been chosen. */
async function tellAnew() {
  if (!isAnyShown()) return;
  const answer = missingHere(activeWorkflow());
  const [now, settings] = [opened, asked];
  const missing = await answer;
  if (now !== opened || settings !== asked) return; // asked anew meanwhile
  if (!missing.older) hide(OLDER);
  if (!missing.names.length) hide(MISSING);
  else if (isShown(MISSING) && JSON.stringify(missing) !== told) tell(missing, true);
}

function onChange() {
  if (isAnyShown() && settingsOf(openGraph()) !== asked) tellAnew();
}

let opened = 0; // graphs, so far

const wait = (milliseconds) =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

/** The workflow of a graph, if any. It gets its tab a while after the graph, on a slow machine seconds. */
async function workflowOf(graphId) {
  for (let tries = 0; tries < 100; tries++) {
    const workflow = activeWorkflow();
    if (workflow?.activeState?.id === graphId) return workflow;
    await wait(100);
  }
  return undefined;
}

/** Of each workflow the host is asked once, however often its tab is shown or a change undone. */
async function tellWhatIsMissing() {
  const now = opened;
  const workflow = await workflowOf((app.rootGraph ?? app.graph).id);
  if (!workflow || now !== opened) return; // its turn comes when it is shown again
  if (settingOf("Comfy.Workflow.ShowMissingModelsWarning") === false) return;
  const missing = lacking.get(workflow) ?? (await missingHere(workflow));
  if (now !== opened) return;
  tellOlder(missing);
  if (missing.names.length) tell(missing, true);
  else hide(MISSING); // another workflow lacks them
}

// The menu

async function readTitles() {
  titles = new Map(await templateTitles());
  // Reports have the English titles in their sentences.
  for (const [file, title] of await templateTitles("en")) titles.set(title, titles.get(file) ?? title);
}

/** Templates by their titles; what is saved and sent is the file's name. At once: Vue nodes ask for no other names later. */
function nameTemplates({ widgets }) {
  for (const { options } of widgets?.filter(({ type }) => type === "combo") ?? []) {
    const before = options.getOptionLabel;
    options.getOptionLabel = (word) => titles.get(word) ?? before?.(word) ?? word ?? "";
  }
}

app.registerExtension({
  name: "likeness.doctor",
  async setup() {
    onMissing(tellAll);
    api.addEventListener("graphChanged", onChange);
    api.addEventListener("execution_success", () => {
      hide(MISSING); // a run that succeeds lacks none
      settle();
    });
    await readTitles();
    await readSentences();
  },
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name === CHECK_MODEL_FILES) extendCheckModelFiles(nodeType.prototype);
  },
  nodeCreated(node) {
    if (node.comfyClass === CHECK_MODEL_FILES) nameTemplates(node);
  },
  refreshComboInNodes: tellAnew,
  afterConfigureGraph() {
    opened += 1;
    // Only then has a workflow its tab, and its nodes what they have shown there before.
    setTimeout(() => {
      tellWhatIsMissing();
      for (const node of app.graph.nodes) if (node.type === CHECK_MODEL_FILES) showReport(node);
    }, 500);
  },
});
