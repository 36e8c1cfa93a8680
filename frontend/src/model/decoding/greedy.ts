import { largest } from "./distribution";
import { IndependentRows } from "./rows";

/** The most probable token at every step, until EOS. */
export class GreedySearch extends IndependentRows {
  protected readonly mostOthers = 0;

  protected choose(logProbs: Float32Array): number {
    return largest(logProbs, 1)[0];
  }

  protected others(): [number, number][] {
    return [];
  }
}
