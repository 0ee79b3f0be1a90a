// The gallery of templates shows titles in an order of ours, both as they stand in locales/<language>/main.json, where
// frontends show the names of files. Links to a template by its file's name stay, also where another one has taken over
// (likenessReplacedTemplates), and so do other packs' templates.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { templateTitles } from "./ours.js";

// The folder that the pack was put into: .../extensions/<folder>/gallery.js
const PACK = decodeURIComponent(new URL(".", import.meta.url).pathname.split("/").at(-2));
const ROUTE = `/workflow_templates/${PACK}/`;
const stems = new Map(); // by title, of those that the gallery shows
let replaced = {}; // names of earlier templates -> which one has taken over

/** Each file's name with its title, in order. The pack's name is a word to search for, and says whose template it is. */
async function readTitles() {
  return (await templateTitles()).map(([stem, title]) => [stem, `${title} · Likeness`]);
}

/** Ours first and by their titles, then files that the table does not know. */
function entitle(files, titles) {
  const ours = titles.filter(([stem]) => files.includes(stem));
  for (const [stem, title] of ours) stems.set(title, stem);
  const others = files.filter((file) => !ours.some(([stem]) => stem === file));
  return [...ours.map(([, title]) => title), ...others];
}

app.registerExtension({
  name: "likeness.gallery",
  init() {
    api.getCustomNodesI18n().then((texts) => (replaced = texts.en?.likenessReplacedTemplates ?? {}));
    const { getWorkflowTemplates, apiURL } = api;
    api.getWorkflowTemplates = async function (...given) {
      const templates = await getWorkflowTemplates.apply(this, given);
      if (!templates?.[PACK]) return templates;
      const titles = await readTitles().catch(() => []); // without them every template is there by its file's name
      return { ...templates, [PACK]: entitle(templates[PACK], titles) };
    };
    // "<title>.json" and, for a picture, "<title>", behind which its ending is put later.
    api.apiURL = function (route, ...given) {
      const [, title, ending] = (route.startsWith?.(ROUTE) && /^(.*?)(\.json)?$/.exec(route.slice(ROUTE.length))) || [];
      const stem = stems.get(title) ?? replaced[title];
      return apiURL.call(this, stem ? ROUTE + stem + (ending ?? "") : route, ...given);
    };
  },
});
