// In a window where a template of ours would open too small to be read, it opens as an app: the host fits a template
// into three quarters of the window, and draws no text below 8/14 of its size. The graph is one click away, beside
// "App", and a toast says so. What is opened in any other way, from a file or a tab, stays as it was saved. Frontends
// without apps do not read linearMode.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { TEMPLATES_ROUTE, inApp, isChinese, nodesOf, someAreOurs, templateTitles } from "./ours.js";
import { show } from "./toasts.js";

const FITTED_PART = 0.75;
const SMALLEST_READABLE = 8 / 14;
const TITLE_BAR = 30; // pixels of a node above its position
const MARGIN = 10; // pixels that the frontend adds on every side of the nodes when it fits them into the window

const TOAST = "small window";
const TOAST_MILLISECONDS = 30000;
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

/** How many pixels of the screen the frontend gives a pixel of the graph when it fits a template into the window. */
function scaleOf({ nodes }) {
  const lefts = nodes.map(({ pos }) => pos[0]);
  const tops = nodes.map(({ pos }) => pos[1] - TITLE_BAR);
  const rights = nodes.map(({ pos, size }) => pos[0] + size[0]);
  const bottoms = nodes.map(({ pos, size }) => pos[1] + size[1]);
  const width = Math.max(...rights) - Math.min(...lefts) + 2 * MARGIN;
  const height = Math.max(...bottoms) - Math.min(...tops) + 2 * MARGIN;
  return Math.min((FITTED_PART * window.innerWidth) / width, (FITTED_PART * window.innerHeight) / height);
}

function tellThatItIsAnApp() {
  if (!inApp()) return; // frontends without apps have opened the graph
  const { summary, detail } = WORDS[isChinese() ? "zh" : "en"];
  show(TOAST, "info", summary, detail, TOAST_MILLISECONDS);
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
      const canBeAnApp = graph?.nodes && someAreOurs(nodesOf(graph)) && graph.extra?.linearData;
      const opensAsApp = canBeAnApp && isOpenedTemplate(name, options) && scaleOf(graph) < SMALLEST_READABLE;
      if (opensAsApp) graph.extra.linearMode = true;
      const answer = await loadGraphData.call(this, graph, clean, restoreView, name, options, ...rest);
      // Behind the frontend's own work, which takes away the toasts of the graph before.
      if (opensAsApp) tellThatItIsAnApp();
      return answer;
    };
  },
});
