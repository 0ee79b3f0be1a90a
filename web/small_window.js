// How a template of ours opens from the gallery. The host fits it into three quarters of the window: then notes are 8 px
// high, and below 8/14 of its size a graph has no text at all. So ours fill what the bars leave of the window. Where a
// template could not be read even so, it opens as an app, and behind the app the graph shows the note and the first steps
// at a size that can be read. A toast says so until the graph is shown. What is opened in any other way, from a file or a
// tab, stays as it was saved. Frontends without apps do not read linearMode.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { TEMPLATES_ROUTE, inApp, isChinese, nodesOf, someAreOurs, templateTitles } from "./ours.js";
import { hide, show } from "./toasts.js";

// Pixels of the window that tabs, menus and the side bar cover, and some beside them.
const FRAME = { left: 72, top: 96, right: 24, bottom: 24 };
const SMALLEST_READABLE = 0.6;
const LARGEST = 1;
const SCALE_OF_A_PART = 0.75; // where not all of it fits: a line of a note is 10 px high
const TITLE_BAR = 30; // pixels of a node above its position

const TOAST = "small window";
const TOAST_MILLISECONDS = 30000;
const LOOK_MILLISECONDS = 300; // between two looks whether the graph is shown: no event tells of it
const FRAME_MILLISECONDS = 100; // at most for a frame: a page that nobody sees draws none
// The quoted words are the frontend's own: breadcrumbsMenu.enterNodeGraph and breadcrumbsMenu.app.
const WORDS = {
  en: {
    summary: "Opened as an app because the window is small.",
    detail: "“Enter node graph”, the icon to the left of “App” at the top, shows the nodes and their note.",
  },
  zh: {
    summary: "窗口较小，所以以应用模式打开。",
    detail: "点顶部“应用”左边的图标“进入节点图”，显示节点和说明。",
  },
};

// The name of the template whose file the gallery has asked for last: its title, which its tab is called like, or that of
// its file, where gallery.js has been asked first.
let asked = "";
let titles = new Map(); // by the names of the files

/** The sides of a graph with all its nodes and groups, in pixels of the canvas. */
function sidesOf({ nodes, groups }) {
  const boxes = nodes.map(({ pos: [x, y], size: [width, height] }) => [x, y - TITLE_BAR, x + width, y + height]);
  for (const { pos: [x, y], size: [width, height] } of groups) boxes.push([x, y, x + width, y + height]);
  const [lefts, tops, rights, bottoms] = [0, 1, 2, 3].map((side) => boxes.map((box) => box[side]));
  return { left: Math.min(...lefts), top: Math.min(...tops), right: Math.max(...rights), bottom: Math.max(...bottoms) };
}

/** A saved graph's groups have their place and size in one list. */
const sidesOfSaved = ({ nodes, groups = [] }) =>
  sidesOf({ nodes, groups: groups.map(({ bounding: [x, y, ...size] }) => ({ pos: [x, y], size })) });

/** How many pixels of the screen a pixel of the graph has where all of it is shown. */
function scaleOf({ left, top, right, bottom }) {
  const across = (window.innerWidth - FRAME.left - FRAME.right) / (right - left);
  const down = (window.innerHeight - FRAME.top - FRAME.bottom) / (bottom - top);
  return Math.min(across, down, LARGEST);
}

const nextFrame = () =>
  new Promise((done) => {
    requestAnimationFrame(done);
    setTimeout(done, FRAME_MILLISECONDS);
  });

/** All of the graph where it can be read so, else its upper left part: the note and the first steps. */
async function frame() {
  // The frontend fits the graph in the frame after it was loaded, and once more where it shows another graph.
  for (let frames = 0; frames < 3; frames++) await nextFrame();
  const { ds, graph, canvas } = app.canvas;
  if (!graph?.nodes?.length) return;
  const sides = sidesOf({ nodes: graph.nodes, groups: graph.groups ?? [] });
  const whole = scaleOf(sides);
  ds.scale = whole < SMALLEST_READABLE ? SCALE_OF_A_PART : whole;
  const { left, top } = canvas.getBoundingClientRect();
  ds.offset[0] = (FRAME.left - left) / ds.scale - sides.left;
  ds.offset[1] = (FRAME.top - top) / ds.scale - sides.top;
  app.canvas.setDirty(true, true);
}

function tellThatItIsAnApp() {
  if (!inApp()) return; // frontends without apps have opened the graph
  const { summary, detail } = WORDS[isChinese() ? "zh" : "en"];
  show(TOAST, "info", summary, detail, TOAST_MILLISECONDS);
  hideBehindTheApp(Date.now() + TOAST_MILLISECONDS);
}

// No event says that the app was left; the message ends by itself after TOAST_MILLISECONDS, and the looking with it.
function hideBehindTheApp(end) {
  if (!inApp()) hide(TOAST);
  else if (Date.now() < end) setTimeout(() => hideBehindTheApp(end), LOOK_MILLISECONDS);
}

function isOpenedTemplate(name, options) {
  return options?.openSource === "template" && (name === asked || name === titles.get(asked));
}

app.registerExtension({
  name: "likeness.small_window",
  init() {
    templateTitles().then((known) => (titles = new Map(known)));
    const { apiURL } = api;
    api.apiURL = function (route, ...rest) {
      const isFile = route.startsWith?.(TEMPLATES_ROUTE) && route.endsWith(".json");
      if (isFile) asked = route.slice(TEMPLATES_ROUTE.length, -".json".length);
      return apiURL.call(this, route, ...rest);
    };
    const { loadGraphData } = app;
    app.loadGraphData = async function (graph, clean, restoreView, name, options, ...rest) {
      // Ours may all be inside of boxes.
      const isOfOurs = graph?.nodes && someAreOurs(nodesOf(graph)) && isOpenedTemplate(name, options);
      const isSmall = isOfOurs && scaleOf(sidesOfSaved(graph)) < SMALLEST_READABLE;
      const opensAsApp = isSmall && graph.extra?.linearData;
      if (opensAsApp) graph.extra.linearMode = true;
      const answer = await loadGraphData.call(this, graph, clean, restoreView, name, options, ...rest);
      if (isOfOurs) await frame();
      // Behind the frontend's own work, which takes away the toasts of the graph before.
      if (opensAsApp) tellThatItIsAnApp();
      return answer;
    };
  },
});
