// The gallery of templates shows ours by their titles, in our order, with what each is good for, which its search reads:
// all as they stand in locales/<language>/main.json. Of a pack's templates frontends take the names of their files and no
// more: only the entries of the host's own list have titles, descriptions and tags. So ours move from one list to the
// other, on their way to the page. No other entry is touched.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { PACK, settingOf, templateTitles } from "./ours.js";

let files = []; // names of the pack's templates, as the host lists them
let titles = new Map(); // of those that the gallery shows, by the names of their files

/** What the tab of a template is called like. */
export const titleOf = (file) => titles.get(file) ?? file;

// What the gallery's filter of models knows a template by, in the host's own words: the first that fits.
const MODELS = [
  [/^(check_files|people_saved)/, []],
  [/klein/, ["Flux.2 Klein"]],
  [/qwen/, ["Qwen-Image-Edit"]],
  [/pulid_flux|with_anyone|infinite_you/, ["Flux.1"]],
  [/sd15|ip_adapter_without|parts2whole/, ["SD1.5"]],
  [/lora_two/, ["SDXL", "Flux.2 Klein", "Z-Image-Turbo"]],
  [/^/, ["SDXL"]],
];

/** What the search finds a template by: in the language of the page, then in the other ones. */
function searchWords(texts, stem) {
  const own = settingOf("Comfy.Locale");
  const languages = Object.keys(texts).sort((one, other) => Number(other === own) - Number(one === own));
  const words = languages.map((language) => texts[language]?.likenessTemplateWords?.[stem]);
  return [...new Set(words.filter(Boolean))].join(" · ");
}

/** The words of the gallery's filter of tasks, in the language of the page, for a template. */
function taskWords(texts, stem) {
  const tasks = texts[settingOf("Comfy.Locale")]?.likenessTemplateTasks ?? texts.en?.likenessTemplateTasks ?? {};
  return Object.keys(tasks).filter((task) => tasks[task].split(" ").includes(stem));
}

/** Ours in the order of the table of titles, then files that it does not have. */
async function entries() {
  // Without the tables every template is there by its file's name.
  titles = new Map(await templateTitles());
  const texts = await api.getCustomNodesI18n().catch(() => ({}));
  const known = [...titles.keys()].filter((stem) => files.includes(stem));
  return [...new Set([...known, ...files])].map((stem) => {
    const words = searchWords(texts, stem);
    // The search weighs tags more than descriptions: so a template to start with comes first.
    const first = stem.startsWith("start_") ? words.split(/, |、/).slice(0, 2) : [];
    return {
      name: stem,
      title: titleOf(stem),
      description: words || titleOf(stem),
      tags: ["Likeness", ...taskWords(texts, stem), ...first],
      models: MODELS.find(([fits]) => fits.test(stem))[1],
      mediaType: "image",
      mediaSubtype: "jpg",
    };
  });
}

app.registerExtension({
  name: "likeness.gallery",
  init() {
    const { getWorkflowTemplates, getCoreWorkflowTemplates } = api;
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
