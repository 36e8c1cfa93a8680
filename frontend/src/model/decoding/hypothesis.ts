// What a search finds (`Hypothesis`), and what it weighs on the way (`Candidate`).
import type { Candidate as Sent, DecodingConfig } from "../../wire";

/** One output: tokens without BOS and EOS, and the log-probability of each, and of EOS after them if it is finished. */
export interface Hypothesis {
  tokens: number[];
  score: number;
  logProbs: number[];
  finished: boolean;
}

/** One token that a search weighed after a prefix: a node of its tree. */
export type Candidate = Omit<Sent, "piece">;

/** Sum of log-probabilities over ((5 + length) / 6)^α (Wu et al. 2016, eq. 14) or length^α, EOS counted. */
export const normalised = (sum: number, length: number, { penalty, length_penalty }: DecodingConfig) =>
  Math.fround(sum / (penalty === "wu" ? (5 + length) / 6 : length) ** length_penalty);

/** What a token adds to the sum: its log-probability; with Hugging Face's rules, 0 if it is forced. */
export const counted = (logProb: number, forced: boolean, { stop }: DecodingConfig) =>
  forced && stop.startsWith("huggingface") && logProb > -Infinity ? 0 : logProb;
