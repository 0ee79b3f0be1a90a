// The gallery of templates shows ours by their titles, in our order, with what each is good for, which its search reads:
// all as they stand in locales/<language>/main.json. Frontends know no more of a pack's templates than the names of their
// files, so ours are a category of the host's own list, whose entries have titles, descriptions and tags. Links to a
// template by its file's name stay, and so do other packs' templates.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { PACK, TEMPLATES_ROUTE, settingOf, templateTitles } from "./ours.js";

const stems = new Map(); // by title, of those that the gallery shows
let files = []; // names of the pack's templates, as the host lists them

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
async function searchWords() {
  const texts = await api.getCustomNodesI18n();
  const own = settingOf("Comfy.Locale");
  const languages = Object.keys(texts).sort((one, other) => Number(other === own) - Number(one === own));
  const tables = languages.map((language) => texts[language]?.likenessTemplateWords ?? {});
  return (stem) => [...new Set(tables.map((table) => table[stem]).filter(Boolean))].join(" · ");
}

/** The words of the gallery's filter of tasks, in the language of the page, for a template. */
async function taskWords() {
  const texts = await api.getCustomNodesI18n();
  const own = texts[settingOf("Comfy.Locale")]?.likenessTemplateTasks ?? texts.en?.likenessTemplateTasks ?? {};
  const tasks = Object.entries(own).map(([task, templates]) => [task, templates.split(" ")]);
  return (stem) => tasks.filter(([, templates]) => templates.includes(stem)).map(([task]) => task);
}

/** Ours by their titles, then files that the tables do not know by their names. */
async function entries() {
  // Without the tables every template is there by its file's name.
  const titles = await templateTitles();
  const words = await searchWords().catch(() => () => "");
  const tasks = await taskWords().catch(() => () => []);
  const known = titles.filter(([stem]) => files.includes(stem));
  const others = files.filter((file) => !known.some(([stem]) => stem === file));
  for (const [stem, title] of known) stems.set(title, stem);
  return [...known, ...others.map((file) => [file, file])].map(([stem, title]) => ({
    name: title, // a tab is called like this
    title,
    description: words(stem) || title,
    // The search weighs tags more than descriptions: so a template to start with comes first.
    tags: ["Likeness", ...tasks(stem), ...(stem.startsWith("start_") ? words(stem).split(/, |、/).slice(0, 2) : [])],
    models: MODELS.find(([fits]) => fits.test(stem))[1],
    mediaType: "image",
    mediaSubtype: "jpg",
  }));
}

app.registerExtension({
  name: "likeness.gallery",
  init() {
    const { getWorkflowTemplates, getCoreWorkflowTemplates, apiURL } = api;
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
    // "<title>.json" and, for a picture, "<title>", behind which its ending is put later.
    api.apiURL = function (route, ...given) {
      const [, title, ending] = (route.startsWith?.(TEMPLATES_ROUTE) && /^(.*?)(\.json)?$/.exec(route.slice(TEMPLATES_ROUTE.length))) || [];
      const stem = stems.get(title);
      return apiURL.call(this, stem ? TEMPLATES_ROUTE + stem + (ending ?? "") : route, ...given);
    };
  },
});
