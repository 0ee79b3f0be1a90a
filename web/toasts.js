// Notes and errors of our nodes beside the graph. The host's own toasts (app.extensionManager.toast) have no links, buttons
// from frontend 1.58 on alone, and are taken away in one way by 1.27 and 1.49, in another by 1.58.
//
// Ours lie in the lower left corner: the upper right one has ComfyUI's own message of what is missing, and in an app the
// photos. But an error stands below what ComfyUI says of it there without the reason. A toast shows text as it stands, no HTML of it, and addresses as links. Only its buttons and links take the
// mouse: a box below it can be dragged. What comes unasked is one line that unfolds.

import { app } from "../../scripts/app.js";
import { inApp, linked, made } from "./ours.js";
import { translated } from "./sentences.js";

const shown = new Map(); // by what each is about: its toast
const COLOURS = { error: "#ff8278", warn: "#e69f00", info: "#56b4e9" };
const CLOSE = "float: right; padding: 0 4px; border: none; background: none; font-size: 18px; line-height: 1";
const MOUSE = "; pointer-events: auto";
const pane = made("div", "", "position: fixed; left: 76px; bottom: 20px; width: 380px; z-index: 1800");
const LOOK = "; max-height: 80vh; overflow: auto; font-size: 13px; user-select: text; pointer-events: none";
pane.style.cssText += LOOK;
const BELOW_THE_HOST_S = 290; // pixels from the top: there its own toasts end
const errorPane = made("div", "", `position: fixed; top: ${BELOW_THE_HOST_S}px; width: 380px; z-index: 1800${LOOK}`);
errorPane.style.maxHeight = `calc(100vh - ${BELOW_THE_HOST_S}px)`;

let area; // of the graph, beside that panel; frontends make another one when the panel opens, and this one has no size then
/** An error is left of the panel in which ComfyUI lists errors, when that is open. */
const besidePanel = new ResizeObserver(putBesidePanel);

function putBesidePanel() {
  const now = document.querySelector(".graph-canvas-panel");
  if (now && now !== area) {
    besidePanel.disconnect();
    besidePanel.observe(now);
    area = now;
  }
  const edge = now?.getBoundingClientRect().right || window.innerWidth;
  errorPane.style.right = `${Math.max(window.innerWidth - edge, 0) + 4}px`;
}

export function hide(about) {
  shown.get(about)?.remove();
  shown.delete(about);
}

function clickable(element) {
  element.style.cssText += MOUSE;
  return element;
}

export const isShown = (about) => shown.has(about);

/** One toast about each, until it is closed, or another takes its place. folded: the title alone, the rest when it is
 * clicked. onClose: called when somebody closes it. */
export function show(about, severity, summary, detail, folded = false, onClose = () => {}) {
  hide(about);
  const close = clickable(made("button", "×", CLOSE));
  const parts = [detail].flat().flatMap((part) => (typeof part === "string" ? linked(part) : part));
  const text = made("div", parts, "margin-top: 4px; white-space: pre-line; overflow-wrap: anywhere");
  const bold = `font-weight: bold; color: ${COLOURS[severity]}`;
  const body = folded ? foldedBody(summary, bold, text, close) : [close, made("div", summary, bold), text];
  const padding = folded ? "6px 12px" : "12px";
  const toast = made("div", body, `margin-top: 8px; padding: ${padding}; border-radius: 8px`);
  toast.style.cssText += `; border: 1px solid ${COLOURS[severity]}; color: var(--input-text, #ddd)`;
  toast.style.cssText += "; background: var(--comfy-menu-bg, #202020)";
  if (folded) toast.style.width = "fit-content";
  toast.className = "likeness-toast";
  toast.role = "alert";
  close.ariaLabel = translated("Close");
  close.onclick = () => {
    hide(about);
    onClose();
  };
  const isBelow = severity === "error" && !inApp();
  if (isBelow) putBesidePanel();
  (isBelow ? errorPane : pane).append(toast);
  shown.set(about, toast);
}

function foldedBody(summary, bold, text, close) {
  const title = clickable(made("summary", [summary, close], `${bold}; cursor: pointer`));
  close.style.cssText += "; float: none; margin-left: 8px";
  return [made("details", [title, text])];
}

app.registerExtension({
  name: "likeness.toasts",
  setup() {
    document.body.append(pane, errorPane);
  },
  beforeConfigureGraph: () => [...shown.keys()].forEach(hide), // another graph is opened
});
