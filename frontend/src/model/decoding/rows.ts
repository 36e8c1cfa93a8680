// Rows that never branch, which greedy search and sampling have in common: each writes one output.
import type { DecodingConfig } from "../../wire";
import { BOS, EOS } from "../text/tokenizer";
import { counted, normalised, type Candidate, type Hypothesis } from "./hypothesis";
import type { Advance, Strategy } from "./search";

interface Row {
  tokens: number[];
  logProbs: number[];
  sum: number;
}

export abstract class IndependentRows implements Strategy {
  /** How many other tokens a step shows that might have been chosen instead. */
  protected abstract readonly mostOthers: number;
  protected step = 0;
  private readonly rows: Row[];
  private went: boolean[] = [];

  constructor(
    private readonly limit: number,
    protected readonly decoding: DecodingConfig,
    width: number,
  ) {
    this.rows = Array.from({ length: width }, () => ({ tokens: [], logProbs: [], sum: 0 }));
  }

  /** The next token of a row. */
  protected abstract choose(logProbs: Float32Array, row: number): number;

  /** What might have been chosen for a row in the last step instead, best first: tokens with their log-probabilities. */
  protected abstract others(row: number): [number, number][];

  get lastTokens(): number[] {
    return this.rows.map(({ tokens }) => tokens.at(-1) ?? BOS);
  }

  /** Write the chosen token in each row that has not ended; every row continues itself. */
  advance(logProbs: Float32Array[], forced: boolean): Advance {
    this.went = this.rows.map(({ tokens }) => tokens.at(-1) !== EOS);
    this.rows.forEach((row, k) => {
      if (!this.went[k]) return;
      const token = this.choose(logProbs[k], k);
      row.tokens.push(token);
      row.logProbs.push(logProbs[k][token]);
      row.sum = Math.fround(row.sum + counted(logProbs[k][token], forced, this.decoding));
    });
    this.step++;
    const ended = this.rows.every(({ tokens }) => tokens.at(-1) === EOS);
    return { rows: this.rows.map((_, k) => k), done: ended || this.step === this.limit };
  }

  hypotheses(): Hypothesis[] {
    const found = this.rows.map(({ tokens, logProbs, sum }) => {
      const finished = tokens.at(-1) === EOS;
      const score = normalised(sum, tokens.length, this.decoding);
      return { tokens: finished ? tokens.slice(0, -1) : tokens, score, logProbs, finished };
    });
    return found.filter(({ score }) => score > -Infinity).sort((a, b) => b.score - a.score); // NaN is not
  }

  candidates(): Candidate[] {
    const step = this.step - 1;
    const places = 1 + this.mostOthers;
    const nodes: Candidate[] = [];
    this.rows.forEach(({ tokens, logProbs, sum }, sample) => {
      if (!this.went[sample]) return;
      const token = tokens[step];
      const logProb = logProbs[step];
      const weighed: [number, number, number][] = [[token, logProb, sum]];
      for (const [other, its] of this.others(sample))
        weighed.push([other, its, Math.fround(Math.fround(sum - logProb) + its)]);
      weighed.forEach(([each, log_prob, total], place) =>
        nodes.push({
          number: (step * this.rows.length + sample) * places + place,
          parent: step ? ((step - 1) * this.rows.length + sample) * places : null,
          step,
          token: each,
          log_prob,
          total,
          score: normalised(total, this.step, this.decoding),
          fate: place ? "pruned" : each === EOS ? "finished" : "kept",
        }),
      );
    });
    return nodes.sort((a, b) => b.total - a.total);
  }
}
