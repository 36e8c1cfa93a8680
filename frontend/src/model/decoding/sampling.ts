// Sampling: each token is drawn from the model's distribution, as temperature, top-k and top-p shape it.
//
// The distribution becomes integers, whose sums are exact, and the token is a function of them, of the seed, and of the
// numbers of the line (0 here: there is one), of the step and of the sample. Python's engines draw the same.
import { largest } from "./distribution";
import { IndependentRows } from "./rows";
import type { DecodingConfig } from "../../wire";

/** The weight of the most probable token. */
const UNIT = 2 ** 30;

export class Sampling extends IndependentRows {
  protected readonly mostOthers = 4;
  private readonly last: { logProbs: Float32Array; weights: Float64Array; token: number }[] = [];

  protected choose(logProbs: Float32Array, row: number): number {
    const weights = samplingWeights(logProbs, this.decoding);
    const token = draw(weights, randomWord(this.decoding.seed, this.step, row));
    this.last[row] = { logProbs, weights, token };
    return token;
  }

  protected others(row: number): [number, number][] {
    const { logProbs, weights, token } = this.last[row];
    const possible = largest(weights, 1 + this.mostOthers).filter((each) => weights[each] > 0 && each !== token);
    return possible.slice(0, this.mostOthers).map((each) => [each, logProbs[each]]);
  }
}

/** What each token counts when one is drawn. */
function samplingWeights(logProbs: Float32Array, { temperature, top_k, top_p }: DecodingConfig): Float64Array {
  let shaped = logProbs.map((logProb) => logProb / temperature);
  if (top_k) {
    // and those as probable as the last of them (Fan et al. 2018, section 5)
    const least = shaped[largest(shaped, top_k).at(-1)!];
    shaped = shaped.map((each) => (each < least ? -Infinity : each));
  }
  const weights = integerWeights(shaped);
  if (top_p === 1) return weights;
  // The nucleus: a token is in it if those that are more probable have less than p of the mass (Holtzman et al. 2020).
  const order = largest(weights, weights.length);
  const total = weights.reduce((a, b) => a + b, 0);
  let before = 0;
  let least = 0;
  for (const token of order) {
    if (before >= top_p * total) break;
    before += weights[token];
    least = weights[token];
  }
  return weights.map((weight) => (weight < least ? 0 : weight));
}

/** ⌊2^30 exp(log p − max log p)⌋: probabilities up to a factor, whose sums are exact in any order. */
function integerWeights(logProbs: Float32Array): Float64Array {
  const most = logProbs.reduce((a, b) => Math.max(a, b), -Infinity);
  return Float64Array.from(logProbs, (each) => Math.floor(Math.fround(Math.exp(Math.fround(each - most))) * UNIT) || 0);
}

/** The first token whose weight and those before it sum to more than ⌊word Σw / 2^32⌋. */
function draw(weights: Float64Array, word: bigint): number {
  const total = weights.reduce((a, b) => a + b, 0);
  const threshold = Number((word * BigInt(total)) >> 32n);
  let sum = 0;
  const token = weights.findIndex((weight) => (sum += weight) > threshold);
  return token < 0 ? weights.length - 1 : token;
}

/** The first word of Philox4x32-10 (Salmon et al. 2011, section 3.2) with the counter (step, sample, 0, 0). */
function randomWord(seed: number, step: number, sample: number): bigint {
  const low = 0xffffffffn;
  let a = BigInt(step);
  let b = BigInt(sample);
  let c = 0n;
  let d = 0n;
  let one = BigInt(seed);
  let other = 0n;
  for (let round = 0; round < 10; round++) {
    const left = 0xd2511f53n * a;
    const right = 0xcd9e8d57n * c; // 64 bits each
    [a, b, c, d] = [(right >> 32n) ^ b ^ one, right & low, (left >> 32n) ^ d ^ other, left & low];
    one = (one + 0x9e3779b9n) & low;
    other = (other + 0xbb67ae85n) & low;
  }
  return a;
}
