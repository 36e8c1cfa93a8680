// Beam search: at every step, the best continuations of the best prefixes.
//
// Each step takes the best 2·beam candidates. At most one continuation of each prefix is EOS, so at least `beam` of them
// live on; one that is EOS is finished if it stands among the first `beam`. Until greedy search has ended, its prefix is
// one of those that live. The search ends when no live prefix can still beat the worst hypothesis that is kept, or at
// the length limit; there, live prefixes count among the hypotheses, as unfinished ones.
import type { DecodingConfig } from "../../wire";
import { BOS, EOS } from "../text/tokenizer";
import { largest } from "./distribution";
import { normalised, type Candidate, type Hypothesis } from "./hypothesis";
import type { Advance, Strategy } from "./search";

/** A candidate in the tree. */
interface Node {
  number: number;
  parent: Node | null;
  token: number;
  logProb: number;
  sum: number;
  /** The row that it continues. */
  row: number;
  greedy: boolean;
  finishes: boolean;
}

/** A live prefix, which is its last node; null: the empty one. A sum of −∞ marks a place that holds nothing. */
interface Live {
  node: Node | null;
  sum: number;
}

export class BeamSearch implements Strategy {
  private step = 0;
  /** While greedy search continues, the first one is its prefix; the others are in order, best first. */
  private live: Live[];
  private greedyLives = true;
  private finished: { node: Node; score: number }[] = [];
  private grown: Node[] = [];

  constructor(
    private readonly limit: number,
    private readonly decoding: DecodingConfig,
  ) {
    this.live = Array.from({ length: decoding.beam }, (_, row) => ({ node: null, sum: row ? -Infinity : 0 }));
  }

  get lastTokens(): number[] {
    return this.live.map(({ node }) => node?.token ?? BOS);
  }

  advance(logProbs: Float32Array[]): Advance {
    const { beam, n_best, length_penalty } = this.decoding;
    const first = this.step * 2 * beam;
    this.grown = this.best(logProbs).map((node, place) => ({ ...node, number: first + place }));
    this.step++;
    this.grown.forEach((node, place) => {
      node.finishes = node.token === EOS && (place < beam || node.greedy);
    });
    const ended = this.grown
      .filter((node) => node.finishes)
      .map((node) => ({ node, score: normalised(node.sum, this.step, length_penalty) }));
    this.finished = [...this.finished, ...ended]
      .filter(({ score }) => score > -Infinity)
      .sort((a, b) => b.score - a.score)
      .slice(0, n_best);

    const living = this.grown.map((node) => (node.token === EOS ? -Infinity : node.sum));
    const greedy = this.grown.findIndex((node, place) => node.greedy && living[place] > -Infinity);
    this.greedyLives = greedy >= 0;
    const order = largest(
      living.map((sum, place) => (place === greedy ? Infinity : sum)),
      beam,
    );
    this.live = order.map((place) => ({ node: this.grown[place], sum: living[place] }));

    // A sum only falls and is divided by at most the limit's penalty: no live prefix can end above this bound.
    const bound = normalised(Math.max(...this.live.map(({ sum }) => sum)), this.limit, length_penalty);
    const worst = this.finished.length === n_best ? this.finished[n_best - 1].score : -Infinity;
    return { rows: order.map((place) => this.grown[place].row), done: bound <= worst || this.step === this.limit };
  }

  /** The best 2·beam continuations of all rows, best first. */
  private best(logProbs: Float32Array[]): Node[] {
    const most = 2 * this.decoding.beam;
    // The best of all are among the best of each row.
    const all = this.live.flatMap(({ node: parent, sum }, row) =>
      largest(logProbs[row], most).map((token, place): Node => {
        const logProb = Number.isNaN(logProbs[row][token]) ? -Infinity : logProbs[row][token];
        const greedy = this.greedyLives && row === 0 && place === 0; // greedy search's next token is the best of its row
        return { number: 0, parent, token, logProb, sum: Math.fround(sum + logProb), row, greedy, finishes: false };
      }),
    );
    const best = largest(
      all.map((node) => node.sum),
      most,
    ).map((place) => all[place]);
    if (this.greedyLives && !best.includes(all[0])) best[most - 1] = all[0];
    return best;
  }

  hypotheses(): Hypothesis[] {
    const { n_best, length_penalty } = this.decoding;
    const live = this.live.map(({ node, sum }) => ({ node: node!, score: normalised(sum, this.step, length_penalty) }));
    return [...this.finished, ...live]
      .filter(({ score }) => score > -Infinity)
      .sort((a, b) => b.score - a.score) // of equal scores, the finished one is first
      .slice(0, n_best)
      .map(({ node, score }) => hypothesis(node, score));
  }

  candidates(): Candidate[] {
    const living = new Set(this.live.map(({ node }) => node));
    return this.grown
      .filter(({ sum }) => sum > -Infinity)
      .map((node) => ({
        number: node.number,
        parent: node.parent && node.parent.number,
        step: this.step - 1,
        token: node.token,
        log_prob: node.logProb,
        total: node.sum,
        score: normalised(node.sum, this.step, this.decoding.length_penalty),
        fate: node.finishes ? "finished" : living.has(node) ? "kept" : "pruned",
      }));
  }
}

/** The path from the root to a node. */
function hypothesis(last: Node, score: number): Hypothesis {
  const path: Node[] = [];
  for (let node: Node | null = last; node; node = node.parent) path.unshift(node);
  const finished = last.token === EOS;
  const tokens = path.map((node) => node.token);
  return {
    tokens: finished ? tokens.slice(0, -1) : tokens,
    score,
    logProbs: path.map((node) => node.logProb),
    finished,
  };
}
