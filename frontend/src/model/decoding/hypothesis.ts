// What a search finds (`Hypothesis`), and what it weighs on the way (`Candidate`).
import type { Candidate as Sent } from "../../wire";

/** One output: tokens without BOS and EOS, and the log-probability of each, and of EOS after them if it is finished. */
export interface Hypothesis {
  tokens: number[];
  score: number;
  logProbs: number[];
  finished: boolean;
}

/** One token that a search weighed after a prefix: a node of its tree. */
export type Candidate = Omit<Sent, "piece">;

/** Sum of log-probabilities over ((5 + length) / 6)^α, EOS counted (Wu et al. 2016, eq. 14). */
export const normalised = (sum: number, length: number, alpha: number) =>
  Math.fround(sum / ((5 + length) / 6) ** alpha);
