// The step of decoding, or the label, of which the model is least sure.
import { model, trace } from "../data";
import { argmax } from "../numbers";
import { labels } from "../pictures/tokens";
import type { Choice } from "../wire";
import { quoted, show } from "../words";

interface LeastSure {
  t: number;
  /** The two most probable tokens, and their probabilities. */
  first: string;
  p: string;
  second: string;
  q: string;
  /** In nats. */
  entropy: string;
}

/** Where the most probable token is least probable. */
export function leastSure(): LeastSure {
  const { steps } = trace.value!.replay;
  const probability = (choice: Choice | undefined) => Math.exp(choice?.log_prob ?? -Infinity);
  const name = (choice: Choice | undefined) =>
    choice ? quoted(labels({ ids: [choice.id], pieces: [choice.piece], characters: [] })[0]) : "–";
  const t = argmax(steps.length, (each) => -probability(steps[each].top[0]));
  const [first, second] = steps[t].top;
  const [, entropy] = steps[t].tempered[model.value!.temperatures.indexOf(1)];
  return {
    t,
    first: name(first),
    p: show(probability(first), 4),
    second: name(second),
    q: show(probability(second), 4),
    entropy: show(entropy, 2),
  };
}
