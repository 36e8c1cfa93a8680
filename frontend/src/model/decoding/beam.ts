// Beam search: at every step, the best continuations of the best prefixes.
//
// Each step takes the best 2·beam candidates. At most one continuation of each prefix is EOS, so at least `beam` of them
// live on; one that is EOS is finished if it stands among the first `beam`. At the length limit, live prefixes count
// among the hypotheses, as unfinished ones. When a search ends before, and which candidates may finish or live, are what
// the rules of `decoding.stop` differ in: a class each, of which `BeamSearch` is zhuyi's own.
import type { DecodingConfig } from "../../wire";
import { BOS, EOS } from "../text/tokenizer";
import { largest } from "./distribution";
import { counted, normalised, type Candidate, type Hypothesis } from "./hypothesis";
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

/**
 * The rule `bound`. A search ends when no live prefix can still beat the worst hypothesis that is kept. Until greedy
 * search has ended, its prefix is one of those that live.
 */
class BeamSearch implements Strategy {
  protected step = 0;
  /** While greedy search is followed, the first one is its prefix; the others are in order, best first. */
  protected live: Live[];
  protected greedyLives = true;
  /** Best first. */
  protected finished: { node: Node; score: number }[] = [];
  private grown: Node[] = [];

  constructor(
    protected readonly limit: number,
    protected readonly decoding: DecodingConfig,
  ) {
    this.live = Array.from({ length: decoding.beam }, (_, row) => ({ node: null, sum: row ? -Infinity : 0 }));
  }

  get lastTokens(): number[] {
    return this.live.map(({ node }) => node?.token ?? BOS);
  }

  /** How many finished hypotheses have a place. */
  protected get places(): number {
    return this.decoding.n_best;
  }

  /** How many of the first candidates may end a hypothesis. */
  protected get mayFinish(): number {
    return this.decoding.beam;
  }

  /** How many of the first candidates may live on. */
  protected get mayLive(): number {
    return 2 * this.decoding.beam;
  }

  /** The worst of the finished hypotheses' scores, once all places are taken. */
  protected get worst(): number {
    return this.finished.length === this.places ? this.finished[this.places - 1].score : -Infinity;
  }

  /** Whether the search ends before the limit. It does where no prefix lives. */
  protected get decided(): boolean {
    // A sum only falls and is divided by at most the limit's penalty: no live prefix can end above this bound.
    const bound = normalised(Math.max(...this.live.map(({ sum }) => sum)), this.limit, this.decoding);
    return bound <= this.worst;
  }

  advance(logProbs: Float32Array[], forced: boolean): Advance {
    const { beam } = this.decoding;
    const first = this.step * 2 * beam;
    this.grown = this.best(logProbs, forced).map((node, place) => ({ ...node, number: first + place }));
    this.step++;
    const { mayFinish, mayLive } = this;
    this.grown.forEach((node, place) => {
      node.finishes = node.token === EOS && (place < mayFinish || node.greedy);
    });
    const ended = this.grown
      .filter((node) => node.finishes)
      .map((node) => ({ node, score: normalised(node.sum, this.step, this.decoding) }));
    this.finished = [...this.finished, ...ended]
      .filter(({ score }) => score > -Infinity)
      .sort((a, b) => b.score - a.score)
      .slice(0, this.places);

    const living = this.grown.map(({ token, sum }, place) => (token === EOS || place >= mayLive ? -Infinity : sum));
    const greedy = this.grown.findIndex((node, place) => node.greedy && living[place] > -Infinity);
    this.greedyLives = greedy >= 0;
    const order = largest(
      living.map((sum, place) => (place === greedy ? Infinity : sum)),
      beam,
    );
    this.live = order.map((place) => ({ node: this.grown[place], sum: living[place] }));
    return { rows: order.map((place) => this.grown[place].row), done: this.decided || this.step === this.limit };
  }

  /** The best 2·beam continuations of all rows, best first. */
  private best(logProbs: Float32Array[], forced: boolean): Node[] {
    const most = 2 * this.decoding.beam;
    // The best of all are among the best of each row.
    const all = this.live.flatMap(({ node: parent, sum }, row) =>
      largest(logProbs[row], most).map((token, place): Node => {
        const logProb = Number.isNaN(logProbs[row][token]) ? -Infinity : logProbs[row][token];
        const greedy = this.greedyLives && row === 0 && place === 0; // greedy search's next token is the best of its row
        const total = Math.fround(sum + counted(logProb, forced, this.decoding));
        return { number: 0, parent, token, logProb, sum: total, row, greedy, finishes: false };
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
    const live = this.live.map(({ node, sum }) => ({ node: node!, score: normalised(sum, this.step, this.decoding) }));
    return [...this.finished, ...(this.step === this.limit ? live : [])]
      .filter(({ score }) => score > -Infinity)
      .sort((a, b) => b.score - a.score) // of equal scores, the finished one is first
      .slice(0, this.decoding.n_best)
      .map(({ node, score }) => hypothesis(node, score));
  }

  candidates(): Candidate[] {
    const living = new Set(this.live.filter(({ sum }) => sum > -Infinity).map(({ node }) => node));
    return this.grown
      .filter(({ sum }) => sum > -Infinity)
      .map((node) => ({
        number: node.number,
        parent: node.parent && node.parent.number,
        step: this.step - 1,
        token: node.token,
        log_prob: node.logProb,
        total: node.sum,
        score: normalised(node.sum, this.step, this.decoding),
        fate: node.finishes ? "finished" : living.has(node) ? "kept" : "pruned",
      }));
  }
}

/** `beam` hypotheses are finished, and the best live prefix, had it ended here, would be no better than the worst. */
class HuggingFaceBeam extends BeamSearch {
  protected greedyLives = false;

  protected get places(): number {
    return this.decoding.beam;
  }

  /** At the limit, the first `beam` only. */
  protected get mayLive(): number {
    return this.step === this.limit ? this.decoding.beam : 2 * this.decoding.beam;
  }

  protected get decided(): boolean {
    return normalised(this.live[0].sum, this.step, this.decoding) <= this.worst;
  }
}

/** `beam` hypotheses are finished. */
class HuggingFaceEarlyBeam extends HuggingFaceBeam {
  protected get decided(): boolean {
    return this.worst > -Infinity || this.live[0].sum === -Infinity;
  }
}

/** Each hypothesis that ends makes the beam one narrower; the search ends when all have. */
class MarianBeam extends BeamSearch {
  protected greedyLives = false;

  protected get places(): number {
    return this.decoding.beam;
  }

  protected get mayFinish(): number {
    return this.places - this.finished.length;
  }

  protected get mayLive(): number {
    return this.mayFinish;
  }

  protected get decided(): boolean {
    return this.live[0].sum === -Infinity;
  }
}

/** The rules of `decoding.stop`. */
export const BEAMS: Record<DecodingConfig["stop"], typeof BeamSearch> = {
  bound: BeamSearch,
  huggingface: HuggingFaceBeam,
  "huggingface-early": HuggingFaceEarlyBeam,
  marian: MarianBeam,
};

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
