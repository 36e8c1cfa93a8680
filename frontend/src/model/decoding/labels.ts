// Labels: what the encoder shape answers. There is no search: each label is the most probable one, by itself.
import type { Network } from "../network/shapes";
import { SILENT } from "../network/tap";
import { largest, logSoftmax } from "./distribution";
import type { Hypothesis } from "./hypothesis";
import { SPECIALS } from "../text/tokenizer";

/** Over the labels: never a special token. */
export const labelLogProbabilities = (logits: Float32Array) =>
  logSoftmax(
    logits,
    SPECIALS.map((_, k) => k),
  );

/** The most probable labels of a line, best first, or the label of each of its tokens. */
export function label(network: Network, source: number[], most: number): Hypothesis[] {
  const logits = network.forward(source, [], SILENT);
  const ofTokens = network.config.labels === "token";
  const alternatives = ofTokens ? 1 : Math.min(most, logits.width - SPECIALS.length);
  const logProbs = Array.from({ length: ofTokens ? source.length - 1 : 1 }, (_, row) =>
    labelLogProbabilities(logits.row(row).data),
  );
  const best = logProbs.map((each) => largest(each, alternatives));
  return Array.from({ length: alternatives }, (_, rank) => {
    const tokens = best.map((each) => each[rank]);
    const chosen = tokens.map((token, k) => logProbs[k][token]);
    return { tokens, score: chosen.reduce((a, b) => a + b, 0), logProbs: chosen, finished: true };
  });
}
