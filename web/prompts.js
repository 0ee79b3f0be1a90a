// What the host answers to each prompt of this page. Frontends 1.27 to 1.58 have no event for one that is refused, all of
// it or in part, and none says of which workflow a run is: so the answer is looked at on its way, here alone. It goes on
// as it came.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { activeWorkflow } from "./ours.js";

/** The id of the output in a prompt that a canvas sends to see who stands where. */
export const VIEW = "likeness";
export const isView = (prompt) => Object.hasOwn(prompt ?? {}, VIEW);

const KEPT = 50; // prompts; a run that fails is one of the last
const prompts = new Map(); // id of a run -> its nodes
let sent = Promise.resolve(); // a run may fail before the page has read its id in the host's answer
const listeners = [];

/** The nodes of a run of this page, as they were sent; none of another page's. */
export async function promptOf(run) {
  await sent;
  return prompts.get(run);
}

function keep(answer, nodes) {
  if (isView(nodes)) return;
  const kept = ({ prompt_id: run }) => {
    prompts.set(run, nodes);
    if (prompts.size > KEPT) prompts.delete(prompts.keys().next().value);
  };
  sent = answer.then(kept).catch(() => {});
}

/** listener: called when a prompt is sent, with the promise of its answer, the workflow that it is of, and its nodes. */
export const onPrompt = (listener) => listeners.push(listener);

app.registerExtension({
  name: "likeness.prompts",
  setup() {
    const { queuePrompt } = api;
    api.queuePrompt = function (...given) {
      const workflow = activeWorkflow();
      const answer = queuePrompt.apply(this, given);
      // In a task of its own: what fails there is in the console, and not in the run.
      queueMicrotask(() => keep(answer, given[1]?.output));
      queueMicrotask(() => listeners.forEach((listener) => listener(answer, workflow, given[1]?.output)));
      return answer;
    };
  },
});
