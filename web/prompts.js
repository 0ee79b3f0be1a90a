// What the host answers to each prompt of this page. No event of a frontend tells of one that is refused, all of it or in
// part, or of which workflow a run is: so the answer is looked at on its way, here alone.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { activeWorkflow } from "./ours.js";

const listeners = [];

/** listener: called when a prompt is sent, with the promise of its answer and the workflow that it is of. */
export const onPrompt = (listener) => listeners.push(listener);

app.registerExtension({
  name: "likeness.prompts",
  setup() {
    const { queuePrompt } = api;
    api.queuePrompt = function (...given) {
      const workflow = activeWorkflow();
      const answer = queuePrompt.apply(this, given);
      for (const listener of listeners) listener(answer, workflow);
      return answer;
    };
  },
});
