// One step of decoding, or one label: where the model is least sure.
import { trace, writes } from "../../data";
import { grouped, show } from "../../words";
import { type Content, content } from "../content";
import { leastSure } from "../least-sure";

/** How many tokens can be written, without PAD and BOS, or how many labels there are, without the four special ones. */
const choices = () => trace.value!.shapes.logits.at(-1)! - (writes() ? 2 : 4);

export async function atStep(): Promise<Content> {
  const { t, first, p, second, q, entropy: nats } = leastSure();
  const size = choices();
  return content(
    { t },
    ["tour_step_1", { t: t + 1, n: t, size: grouped(size) }],
    ["tour_step_2", { first, p, second, q }],
    ["tour_step_3", { nats, most: show(Math.log(size), 2) }],
  );
}

export async function atLabels(): Promise<Content> {
  const { t, first, p, second, q, entropy: nats } = leastSure();
  const size = choices();
  return content(
    { t },
    ["tour_labels_1", { n: trace.value!.replay.steps.length, size: grouped(size) }],
    ["tour_labels_2", { first, p, second, q }],
    ["tour_step_3", { nats, most: show(Math.log(size), 2) }],
  );
}
