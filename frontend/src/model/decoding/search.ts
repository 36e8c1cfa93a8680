// The search loop: read the source once, then step and advance until the sentence is done.
import type { DecodingConfig } from "../../wire";
import type { Memory } from "../network/blocks";
import { selectRows } from "../network/stack";
import type { Writer } from "../network/shapes";
import { EOS } from "../text/tokenizer";
import { BEAMS } from "./beam";
import { constraints, force, logProbabilities } from "./distribution";
import { GreedySearch } from "./greedy";
import type { Candidate, Hypothesis } from "./hypothesis";
import { Sampling } from "./sampling";

/** The row that each row now continues, and whether the sentence is done. */
export interface Advance {
  rows: number[];
  done: boolean;
}

/** Chooses each step's tokens, and keeps the account of them. */
export interface Strategy {
  /** Of each row; BOS at first. */
  readonly lastTokens: number[];
  /** Take one step, given the log-probabilities of each row; `forced`: there is no choice of the next token. */
  advance(logProbs: Float32Array[], forced: boolean): Advance;
  /** What was found, best first; empty if the model gave no number. */
  hypotheses(): Hypothesis[];
  /** What the last step weighed, best first, and what became of each. */
  candidates(): Candidate[];
}

function strategyOf(limit: number, decoding: DecodingConfig): Strategy {
  if (decoding.strategy === "sampling") return new Sampling(limit, decoding, decoding.n_best);
  return decoding.beam === 1 ? new GreedySearch(limit, decoding, 1) : new BEAMS[decoding.stop](limit, decoding);
}

/** Most tokens of the output of a source of so many, EOS counted on both sides. */
function lengthLimit({ max_ratio, max_extra }: DecodingConfig, source: number, maxLength: number): number {
  return Math.floor(Math.min(Math.max((max_ratio ?? 3) * source + (max_extra ?? 20), 1), maxLength));
}

/**
 * The best outputs of a sentence, and the tree of all candidates.
 * @param source its tokens, EOS at the end.
 * @param memory of it, where the network has one (`Writer.remember`).
 * @param maxLength of the model: no output has more tokens, EOS counted.
 * @param prefix the first tokens of every output, whatever the model thinks of them.
 */
export function search(
  network: Writer,
  source: number[],
  memory: Memory | undefined,
  decoding: DecodingConfig,
  maxLength: number,
  prefix: readonly number[],
): { hypotheses: Hypothesis[]; candidates: Candidate[] } {
  const limit = lengthLimit(decoding, source.length, maxLength);
  const filters = constraints(decoding);
  const strategy = strategyOf(limit, decoding);
  const candidates: Candidate[] = [];
  let cache = network.read(source, memory, strategy.lastTokens.length, limit);
  let written = strategy.lastTokens.map((): number[] => []);
  for (let step = 0; ; step++) {
    const logits = network.step(strategy.lastTokens, cache);
    const last = decoding.end_at_limit && step + 1 === limit;
    const { rows, done } = strategy.advance(
      written.map((tokens, row) => {
        const logProbs = logProbabilities(logits.row(row).data);
        if (step < prefix.length) return force(logProbs, prefix[step]);
        if (last) return force(logProbs, EOS);
        return filters.reduce((before, constrain) => constrain(before, tokens), logProbs);
      }),
      last || step < prefix.length,
    );
    candidates.push(...strategy.candidates());
    if (done) return { hypotheses: strategy.hypotheses(), candidates };
    if (rows.some((from, to) => from !== to)) cache = selectRows(cache, rows);
    written = rows.map((row, k) => [...written[row], strategy.lastTokens[k]]);
  }
}
