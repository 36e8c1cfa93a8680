// A block of the encoder or the decoder: sublayers, each within a residual connection and a norm.
//
//   encoder block:  mixer (self-attention) → feed-forward
//   decoder block:  mixer (causal self-attention) → cross-attention, where there is an encoder → feed-forward
//
// Post-norm (2017): x ← norm(x + sublayer(x)). Pre-norm (Xiong et al. 2020): x ← x + sublayer(norm(x)).
import type { Architecture } from "../../wire";
import { CrossAttention, type Remembered } from "./attention";
import { Linear } from "./linear";
import { Matrix, plus } from "./matrix";
import { MIXERS, type Mixer, type State } from "./mixers";
import { normOf, type Norm } from "./norms";
import type { Positions } from "./positions";
import { SILENT, type Tap } from "./tap";
import type { Weights } from "./weights";

/** The error function, to 1.2e-7 of 1 − |erf| (Press et al., Numerical Recipes, section 6.2). */
function erf(x: number): number {
  const t = 1 / (1 + Math.abs(x) / 2);
  const terms = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
  ];
  const tail = t * Math.exp(-x * x + terms.reduceRight((sum, term) => sum * t + term, 0));
  return x < 0 ? tail - 1 : 1 - tail;
}

/** The approximation of gelu by tanh (Hendrycks & Gimpel 2016). */
const geluByTanh = (x: number) => (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))) / 2;

const silu = (x: number) => x / (1 + Math.exp(-x));

/** Of each element; a gated one is applied to a second linear map, by which the inner values are multiplied. */
const ACTIVATIONS: Record<Architecture["activation"], { of: (x: number) => number; gated: boolean }> = {
  relu: { of: (x) => Math.max(x, 0), gated: false },
  gelu: { of: (x) => (x * (1 + erf(x / Math.SQRT2))) / 2, gated: false },
  silu: { of: silu, gated: false },
  swiglu: { of: silu, gated: true }, // Shazeer 2020
  geglu: { of: geluByTanh, gated: true },
};

/** Two linear maps and a non-linearity between, at each position alone (Vaswani et al. 2017, section 3.3). */
class FeedForward {
  private readonly activation: (typeof ACTIVATIONS)[Architecture["activation"]];
  private readonly inner: Linear;
  private readonly gate: Linear | null;
  private readonly outer: Linear;

  constructor(config: Architecture, weights: Weights) {
    this.activation = ACTIVATIONS[config.activation];
    this.inner = Linear.of(weights.part("inner"));
    this.gate = this.activation.gated ? Linear.of(weights.part("gate")) : null;
    this.outer = Linear.of(weights.part("outer"));
  }

  apply(x: Matrix, tap: Tap): Matrix {
    const linear = this.inner.apply(x);
    const inner = new Matrix(linear.rows, linear.width);
    const { of } = this.activation;
    const gate = this.gate?.apply(x);
    for (let k = 0; k < inner.data.length; k++)
      inner.data[k] = gate ? of(gate.data[k]) * linear.data[k] : of(linear.data[k]);
    return tap.rows("output", this.outer.apply(tap.rows("inner", inner)));
  }
}

/** The residual connection around a sublayer and its norm: `after(x, sublayer(before(x)))`. */
class Residual {
  norm: Norm;
  /** Whether the sublayer's input is added to its output; see `broken.ts`. */
  adds = true;
  private readonly pre: boolean;

  constructor(config: Architecture, weights: Weights) {
    this.norm = normOf(config, weights.part("norm"));
    this.pre = config.norm === "pre";
  }

  before(x: Matrix, tap: Tap): Matrix {
    return this.pre ? tap.rows("norm", this.norm(x)) : x;
  }

  after(x: Matrix, y: Matrix, tap: Tap): Matrix {
    const total = tap.rows("residual", this.adds ? plus(x, y) : y);
    return this.pre ? total : tap.rows("norm", this.norm(total));
  }
}

/** The output of another stack, and which of its positions may be attended to. */
export interface Memory {
  states: Matrix;
  mask: Matrix;
}

/** What a layer remembers while a sequence is written. */
export interface LayerCache {
  /** Of each row. */
  past: State[];
  /** Keys and values of cross-attention, where there is one; all rows are of one sentence. */
  memory: Remembered | null;
}

export class Block {
  readonly mixer: Mixer;
  readonly cross: CrossAttention | null;
  readonly residuals: Record<"mixer" | "feed_forward", Residual> & { cross?: Residual };
  private readonly feedForward: FeedForward;

  constructor(config: Architecture, weights: Weights, causal: boolean, cross: boolean) {
    const mixer = causal ? config.decoder_mixer : config.encoder_mixer;
    this.mixer = new MIXERS[mixer](config, weights.part("mixer"), causal);
    this.cross = cross ? new CrossAttention(config, weights.part("cross")) : null;
    this.feedForward = new FeedForward(config, weights.part("feed_forward"));
    const residual = (name: string) => new Residual(config, weights.part(`${name}_residual`));
    this.residuals = {
      mixer: residual("mixer"),
      feed_forward: residual("feed_forward"),
      ...(cross ? { cross: residual("cross") } : {}),
    };
  }

  apply(x: Matrix, mask: Matrix | null, positions: Positions, memory: Memory | null, tap: Tap): Matrix {
    const inner = tap.within("self");
    const residual = this.residuals.mixer;
    x = residual.after(x, this.mixer.apply(residual.before(x, inner), mask, positions, inner), inner);
    x = this.attendToMemory(x, this.remember(memory, tap), tap);
    return this.feed(x, tap);
  }

  start(rows: number, limit: number, memory: Memory | null): LayerCache {
    return { past: Array.from({ length: rows }, () => this.mixer.start(limit)), memory: this.remember(memory, SILENT) };
  }

  step(x: Matrix, cache: LayerCache, position: number, positions: Positions): Matrix {
    const residual = this.residuals.mixer;
    x = residual.after(x, this.mixer.step(residual.before(x, SILENT), cache.past, position, positions), SILENT);
    return this.feed(this.attendToMemory(x, cache.memory, SILENT), SILENT);
  }

  private remember(memory: Memory | null, tap: Tap): LayerCache["memory"] {
    if (!this.cross || !memory) return null;
    return { ...this.cross.keysValues(memory.states, tap.within("cross")), mask: memory.mask };
  }

  private attendToMemory(x: Matrix, memory: LayerCache["memory"], tap: Tap): Matrix {
    if (!this.cross || !memory) return x;
    const inner = tap.within("cross");
    const residual = this.residuals.cross!;
    return residual.after(x, this.cross.apply(residual.before(x, inner), memory, inner), inner);
  }

  private feed(x: Matrix, tap: Tap): Matrix {
    const inner = tap.within("feed_forward");
    const residual = this.residuals.feed_forward;
    return residual.after(x, this.feedForward.apply(residual.before(x, inner), inner), inner);
  }
}
