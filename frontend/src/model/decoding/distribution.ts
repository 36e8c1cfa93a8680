// A step's distribution, and what may be chosen from it: log-probabilities, −∞ for what may not.
import type { DecodingConfig } from "../../wire";
import { BOS, EOS, PAD, UNK } from "../text/tokenizer";

/** Log-probabilities in float32; `never` may not be written. */
export function logSoftmax(logits: Float32Array, never: readonly number[]): Float32Array {
  const allowed = logits.slice();
  for (const token of never) allowed[token] = -Infinity;
  const logSum = logSumExp(allowed);
  return allowed.map((logit) => logit - logSum);
}

export function logSumExp(values: ArrayLike<number>): number {
  let most = -Infinity;
  let sum = 0;
  for (let k = 0; k < values.length; k++) if (values[k] > most) most = values[k];
  for (let k = 0; k < values.length; k++) sum += Math.exp(values[k] - most);
  return most + Math.log(sum);
}

/** Over the tokens that may be written: never PAD, never BOS. */
export const logProbabilities = (logits: Float32Array) => logSoftmax(logits, [PAD, BOS]);

/** The places of the `most` largest values, largest first; of equal ones the first. */
export function largest(values: ArrayLike<number>, most: number): number[] {
  const best: number[] = [];
  for (let place = 0; place < values.length; place++) {
    if (best.length === most && !(values[place] > values[best[most - 1]])) continue;
    let at = best.length < most ? best.length : most - 1;
    for (; at > 0 && values[place] > values[best[at - 1]]; at--) best[at] = best[at - 1];
    best[at] = place;
  }
  return best;
}

/** This token may not be chosen. */
function forbid(logProbs: Float32Array, token: number): Float32Array {
  const filtered = logProbs.slice();
  filtered[token] = -Infinity;
  return filtered;
}

/** Only this token may be chosen; it keeps its log-probability. */
export function force(logProbs: Float32Array, token: number): Float32Array {
  const forced = new Float32Array(logProbs.length).fill(-Infinity);
  forced[token] = logProbs[token];
  return forced;
}

/** Changes a row's distribution as what the row has written demands. */
type Constraint = (logProbs: Float32Array, written: number[]) => Float32Array;

/** Those that a configuration asks for; they hold for every strategy. */
export function constraints(decoding: DecodingConfig): Constraint[] {
  const { allow_unknown, no_repeat_ngram, max_repetition, min_length } = decoding;
  const wanted: Constraint[] = [];
  if (!allow_unknown) wanted.push((logProbs) => forbid(logProbs, UNK));
  if (no_repeat_ngram) wanted.push((logProbs, written) => noRepeatedNgram(logProbs, written, no_repeat_ngram));
  wanted.push((logProbs, written) => {
    if (written.length + 1 < min_length) return forbid(logProbs, EOS);
    return max_repetition ? endOfRepetition(logProbs, written, max_repetition) : logProbs;
  });
  return wanted;
}

/** Forbid what would complete an n-gram that was written before (Paulus et al. 2018, section 2.5). */
function noRepeatedNgram(logProbs: Float32Array, written: number[], size: number): Float32Array {
  const filtered = logProbs.slice();
  const begun = written.length - size + 1;
  for (let first = 0; first + size <= written.length; first++) {
    let same = true;
    for (let k = 0; k < size - 1; k++) same &&= written[first + k] === written[begun + k];
    if (same) filtered[written[first + size - 1]] = -Infinity;
  }
  return filtered;
}

/** Force EOS once each of the last `length` tokens is the one n places before it, for an n ≤ max(1, length / 4). */
function endOfRepetition(logProbs: Float32Array, written: number[], length: number): Float32Array {
  const last = written.slice(-length);
  for (let n = 1; n <= Math.max(1, length >> 2) && written.length >= length + n; n++) {
    const before = written.slice(-length - n, -n);
    if (last.every((token, k) => token === before[k])) return force(logProbs, EOS);
  }
  return logProbs;
}
