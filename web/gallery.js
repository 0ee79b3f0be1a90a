// The gallery of templates shows ours by their titles, in our order, with what each is good for, which its search reads:
// all as they stand in locales/<language>/main.json. Of a pack's templates frontends take the names of their files and no
// more, 1.27 to 1.58: only the entries of the host's own list have titles, descriptions and tags. So ours move from one
// list to the other, on their way to the page. No other entry is touched. One that is opened has its title on its tab.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { PACK, nodesOf, settingOf, someAreOurs, templateTitles } from "./ours.js";

let files = []; // names of the pack's templates, as the host lists them
let titles = new Map(); // of those that the gallery shows, by the names of their files

const titleOf = (file) => titles.get(file) ?? file;

/** What the search finds a template by: in the language of the page, then in the other ones. */
function searchWords(texts, stem) {
  const own = settingOf("Comfy.Locale");
  const languages = Object.keys(texts).sort((one, other) => Number(other === own) - Number(one === own));
  const words = languages.map((language) => texts[language]?.likenessTemplateWords?.[stem]);
  return [...new Set(words.filter(Boolean))].join(" · ");
}

/** The words of one of the gallery's filters for a template. table: a word -> names of templates with spaces between. */
const filterWords = (table, stem) => Object.keys(table ?? {}).filter((word) => table[word].split(" ").includes(stem));

/** Ours in the order of the table of titles, then files that it does not have. */
async function entries() {
  // Without the tables every template is there by its file's name.
  titles = new Map(await templateTitles());
  const texts = await api.getCustomNodesI18n().catch(() => ({}));
  const { en } = texts;
  const own = texts[settingOf("Comfy.Locale")] ?? en;
  const known = [...titles.keys()].filter((stem) => files.includes(stem));
  return [...new Set([...known, ...files])].map((stem) => {
    const words = searchWords(texts, stem);
    const tasks = filterWords(en?.likenessTemplateTasks, stem);
    // The search weighs tags more than descriptions: so a template to start with comes first.
    const first = stem.startsWith("start_") ? words.split(/, |、/).slice(0, 3) : [];
    return {
      name: stem,
      title: titleOf(stem),
      description: words || titleOf(stem),
      tags: ["Likeness", ...tasks.map((task) => own?.likenessTaskNames?.[task] ?? task), ...first],
      models: filterWords(en?.likenessTemplateModels, stem), // which the host calls the same in every language
      mediaType: "image",
      mediaSubtype: "jpg",
    };
  });
}

/** A template of ours opens in the view that its file has, as whatever is opened from a file. The host would fit all of
 * it into three quarters of the window, whatever the file says: below 8/14 of its size a graph has no text at all. No
 * event says that a template is opened. */
function openInOwnView() {
  const { loadGraphData } = app;
  app.loadGraphData = function (graph, clean, restoreView, name, options, ...rest) {
    // Ours may all be inside of boxes. Frontend 1.27 does not say what it opens, and keeps the view.
    const isOurTemplate = (options?.openSource ?? "template") === "template" && someAreOurs(nodesOf(graph ?? {}));
    const title = isOurTemplate ? titleOf(name) : name;
    const asFile = isOurTemplate ? { ...options, openSource: undefined } : options;
    return loadGraphData.call(this, graph, clean, restoreView, title, asFile, ...rest);
  };
}

app.registerExtension({
  name: "likeness.gallery",
  init() {
    openInOwnView();
    const { getWorkflowTemplates, getCoreWorkflowTemplates } = api;
    if (!getWorkflowTemplates || !getCoreWorkflowTemplates) return; // then ours are shown by the names of their files
    api.getWorkflowTemplates = async function (...given) {
      const templates = await getWorkflowTemplates.apply(this, given);
      if (!templates?.[PACK]) return templates;
      const { [PACK]: ours, ...others } = templates;
      files = ours;
      return others;
    };
    api.getCoreWorkflowTemplates = async function (...given) {
      const categories = await getCoreWorkflowTemplates.apply(this, given);
      if (!Array.isArray(categories) || !files.length) return categories;
      return [...categories, { moduleName: PACK, title: "Likeness", type: "image", templates: await entries() }];
    };
  },
});
