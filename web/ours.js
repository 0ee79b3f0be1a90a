// What the other scripts here share: which nodes are ours, and what is set.

import { app } from "../../scripts/app.js";

export const isOurs = (type) => String(type).startsWith("Likeness");
export const someAreOurs = (nodes) => nodes.some(({ type }) => isOurs(type));

/** A saved graph and those inside of its boxes. */
export const graphsOf = (saved) => [saved, ...(saved.definitions?.subgraphs ?? [])];
export const nodesOf = (saved) => graphsOf(saved).flatMap(({ nodes }) => nodes ?? []);

export const settingOf = (name) => app.extensionManager.setting.get(name);
export const isChinese = () => settingOf("Comfy.Locale") === "zh";
