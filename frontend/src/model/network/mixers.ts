// Mixers: self-attention and the layers that can replace it, for the lecture's comparison. A mixer exchanges information
// between positions. In the decoder it is causal and also proceeds one position at a time, with a state of its own.
import type { Architecture } from "../../wire";
import { SelfAttention } from "./attention";
import { Convolution } from "./convolution";
import type { Matrix } from "./matrix";
import type { Positions } from "./positions";
import { Recurrence } from "./recurrence";
import type { Tap } from "./tap";
import type { Weights } from "./weights";

/** What a mixer remembers of one row's past. */
export interface State {
  /** The same after `position` steps, for another row that continues from here. */
  copy(position: number): State;
}

export interface Mixer {
  /** All positions at once; `mask` says which may be attended to, where the mixer is not causal. */
  apply(x: Matrix, mask: Matrix | null, positions: Positions, tap: Tap): Matrix;
  /** The state before the first of at most `limit` positions. */
  start(limit: number): State;
  /** The next position of each row; each row's state is written in place. */
  step(x: Matrix, states: State[], position: number, positions: Positions): Matrix;
}

export const MIXERS: Record<
  Architecture["mixer"],
  new (config: Architecture, weights: Weights, causal: boolean) => Mixer
> = {
  attention: SelfAttention,
  convolution: Convolution,
  recurrence: Recurrence,
};
