// In a window where a template of ours would open too small to be read, it opens as an app: the host fits a template
// into three quarters of the window, and draws no text below 8/14 of its size. The graph is one click away, beside
// "App". What is opened in any other way, from a file or a tab, stays as it was saved. Frontends without apps do not
// read linearMode.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { TEMPLATES_ROUTE, someAreOurs, templateTitles } from "./ours.js";

const FITTED_PART = 0.75;
const SMALLEST_READABLE = 8 / 14;
const TITLE_BAR = 30; // pixels of a node above its position

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
  const width = Math.max(...rights) - Math.min(...lefts);
  const height = Math.max(...bottoms) - Math.min(...tops);
  return Math.min((FITTED_PART * window.innerWidth) / width, (FITTED_PART * window.innerHeight) / height);
}

function isOpenedTemplate(name, options) {
  return options?.openSource === "template" && (name === asked || name === titles.get(asked));
}

app.registerExtension({
  name: "likeness.small_window",
  init() {
    templateTitles()
      .then((known) => (titles = new Map(known)))
      .catch(() => {}); // without the tables a template is known by the name of its file
    const { apiURL } = api;
    api.apiURL = function (route, ...rest) {
      const isFile = route.startsWith?.(TEMPLATES_ROUTE) && route.endsWith(".json");
      if (isFile) asked = route.slice(TEMPLATES_ROUTE.length, -".json".length);
      return apiURL.call(this, route, ...rest);
    };
    const { loadGraphData } = app;
    app.loadGraphData = function (graph, clean, restoreView, name, options, ...rest) {
      const canBeAnApp = someAreOurs(graph?.nodes) && graph.extra?.linearData;
      if (canBeAnApp && isOpenedTemplate(name, options) && scaleOf(graph) < SMALLEST_READABLE) {
        graph.extra.linearMode = true;
      }
      return loadGraphData.call(this, graph, clean, restoreView, name, options, ...rest);
    };
  },
});
