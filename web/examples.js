// What may be written into an empty text field of a box: the example of the node inside. Newer frontends show the field's
// own name there, and Vue nodes nothing. Without this file the example is in the node inside alone.

import { app } from "../../scripts/app.js";
import { allNodesOf, rootGraph } from "./ours.js";

const PAUSE = 300; // ms: a page that is drawn anew changes a thousand times

/** Of a box the fields with an example: the widget that shows it, its label and the example. */
function fieldsOf(box) {
  return box.inputs.flatMap((input, slot) => {
    const link = box.subgraph.inputs?.[slot]?.linkIds?.[0];
    const { target_id: id, target_slot: target } = box.subgraph.links?.get?.(link) ?? {};
    const inside = box.subgraph.getNodeById?.(id);
    const name = inside?.inputs?.[target]?.widget?.name;
    const example = inside?.constructor.nodeData?.input?.optional?.[name]?.[1]?.placeholder;
    const widget = box.widgets?.find((one) => one.name === input.name);
    return example && widget && inside.comfyClass?.startsWith("Likeness") ? [{ widget, input, example }] : [];
  });
}

function showExamples() {
  for (const box of allNodesOf(rootGraph()).filter((node) => node.subgraph && node.inputs)) {
    for (const { widget, input, example } of fieldsOf(box)) {
      const onPage = [.../** @type {NodeListOf<HTMLLabelElement>} */ (document.querySelectorAll(`[data-node-id="${box.id}"] label`))];
      const label = onPage.find(({ textContent }) => textContent === (input.label ?? input.name));
      for (const field of [widget.element, widget.inputEl, label && document.getElementById(label.htmlFor)])
        if (field?.tagName === "TEXTAREA" && field.placeholder !== example) field.placeholder = example;
    }
  }
}

let waiting;

app.registerExtension({
  name: "likeness.examples",
  setup() {
    // Vue makes the field of a node anew whenever the node comes into view.
    new MutationObserver(() => {
      waiting ??= setTimeout(() => {
        waiting = undefined;
        showExamples();
      }, PAUSE);
    }).observe(document.body, { childList: true, subtree: true });
  },
});
