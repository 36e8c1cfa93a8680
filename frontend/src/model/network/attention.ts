// Attention: each position has a query, which is compared with the keys of all positions to weight their values.
//
//   q = x W_q      k = y W_k      v = y W_v
//   scores  = q kᵀ / √d_head                       α in the lecture
//   weights = softmax(scores + bias)               α′; one row of weights for each query, whose sum is 1
//   output  = concat over heads of (weights v) W_o
//
// Self-attention: x = y. Cross-attention: x is the decoder's, y the encoder's output. A mask has 1 where a query may
// attend and 0 where it may not; one row is for all queries. `groups` are the heads of keys and values.
import type { Architecture } from "../../wire";
import { Linear } from "./linear";
import { Matrix } from "./matrix";
import type { Mixer, State } from "./mixers";
import type { Place, Positions } from "./positions";
import { SILENT, type Tap } from "./tap";
import type { Tensor, Weights } from "./weights";

/** All positions may be attended to. */
export const everyone = (keys: number) => new Matrix(1, keys, new Float32Array(keys).fill(1));

/** Each position may attend to itself and to those before it. */
function causalMask(time: number): Matrix {
  const mask = new Matrix(time, time);
  for (let i = 0; i < time; i++) mask.data.fill(1, i * time, i * time + i + 1);
  return mask;
}

/** softmax(q kᵀ / √d + bias): the share of its attention that each query gives to each key, `heads queries keys`. */
function attentionWeights(
  queries: Matrix,
  keys: Matrix,
  heads: number,
  mask: Matrix | null,
  bias: Tensor | null,
  tap: Tap,
): Float32Array {
  const d = queries.width / heads;
  const perGroup = queries.width / keys.width;
  const scale = 1 / Math.sqrt(d);
  const shape = [heads, queries.rows, keys.rows];
  const dots = new Float32Array(heads * queries.rows * keys.rows);
  const q = queries.data;
  const k = keys.data;
  for (let head = 0, at = 0; head < heads; head++) {
    const ofGroup = Math.floor(head / perGroup) * d;
    for (let i = 0; i < queries.rows; i++) {
      const first = i * queries.width + head * d;
      for (let j = 0; j < keys.rows; j++) {
        const other = j * keys.width + ofGroup;
        let dot = 0;
        for (let c = 0; c < d; c++) dot += q[first + c] * k[other + c];
        dots[at++] = dot * scale;
      }
    }
  }
  const scores = tap.keep("scores", shape, dots);
  if (bias) tap.keep("bias", bias.shape, bias.data);
  const allowed = mask && tap.keep("mask", [1, mask.rows, mask.width], mask.data);
  const weights = new Float32Array(scores.length);
  const n = keys.rows;
  for (let first = 0; first < scores.length; first += n) {
    const row = mask && mask.rows > 1 ? ((first / n) % mask.rows) * n : 0;
    let most = -Infinity;
    for (let j = 0; j < n; j++) {
      const score = allowed && !allowed[row + j] ? -Infinity : scores[first + j] + (bias ? bias.data[first + j] : 0);
      weights[first + j] = score;
      if (score > most) most = score;
    }
    let sum = 0;
    for (let j = 0; j < n; j++) sum += weights[first + j] = Math.exp(weights[first + j] - most);
    for (let j = 0; j < n; j++) weights[first + j] /= sum;
  }
  tap.keep("weights", shape, weights);
  return weights;
}

/** The weighted sum of the values: the contexts of all heads, side by side. */
export function attention(
  queries: Matrix,
  keys: Matrix,
  values: Matrix,
  heads: number,
  mask: Matrix | null,
  bias: Tensor | null,
  tap: Tap,
): Matrix {
  const weights = attentionWeights(queries, keys, heads, mask, bias, tap);
  const d = queries.width / heads;
  const perGroup = queries.width / values.width;
  const context = new Matrix(queries.rows, queries.width);
  const to = context.data;
  const v = values.data;
  for (let head = 0, at = 0; head < heads; head++) {
    const ofGroup = Math.floor(head / perGroup) * d;
    for (let i = 0; i < queries.rows; i++) {
      const first = i * queries.width + head * d;
      for (let j = 0; j < values.rows; j++) {
        const weight = weights[at++];
        const other = j * values.width + ofGroup;
        for (let c = 0; c < d; c++) to[first + c] += weight * v[other + c];
      }
    }
  }
  return tap.heads("context", context, heads);
}

/** W_q, W_k, W_v and W_o of all heads (Vaswani et al. 2017, section 3.2.2). */
export class MultiHeadAttention {
  readonly heads: number;
  readonly groups: number;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;

  constructor(config: Architecture, weights: Weights) {
    this.heads = config.heads;
    this.groups = config.key_value_heads;
    [this.query, this.key, this.value, this.output] = ["query", "key", "value", "output"].map((part) =>
      Linear.of(weights.part(part)),
    );
  }

  queries(x: Matrix, tap: Tap): Matrix {
    return tap.heads("queries", this.query.apply(x), this.heads);
  }

  keysValues(x: Matrix, tap: Tap): { keys: Matrix; values: Matrix } {
    const keys = tap.heads("keys", this.key.apply(x), this.groups);
    return { keys, values: tap.heads("values", this.value.apply(x), this.groups) };
  }

  attend(queries: Matrix, keys: Matrix, values: Matrix, mask: Matrix | null, bias: Tensor | null, tap: Tap): Matrix {
    return tap.rows("output", this.output.apply(attention(queries, keys, values, this.heads, mask, bias, tap)));
  }

  /** A head is switched off by zeros in its columns of W_o, so that everything else runs as always. */
  switchOff(head: number): void {
    const { shape, data } = this.output.weight;
    const width = shape[1] / this.heads;
    const zeroed = data.slice();
    for (let row = 0; row < shape[0]; row++) {
      zeroed.fill(0, row * shape[1] + head * width, row * shape[1] + (head + 1) * width);
    }
    this.output.weight = { shape, data: zeroed };
  }
}

/** The keys and values of the past, in space for `limit` positions. */
class KeysValues implements State {
  constructor(
    readonly keys: Matrix,
    readonly values: Matrix,
  ) {}

  copy(position: number): KeysValues {
    const copied = (x: Matrix) => {
      const y = new Matrix(x.rows, x.width);
      y.data.set(x.data.subarray(0, position * x.width));
      return y;
    };
    return new KeysValues(copied(this.keys), copied(this.values));
  }
}

const rotated = (positions: Positions, x: Matrix, heads: number, place: Place) =>
  positions.rotate?.(x, heads, place) ?? x;

/** Attention of a sequence to itself; causal in the decoder, where no position sees those after it. */
export class SelfAttention extends MultiHeadAttention implements Mixer {
  constructor(
    config: Architecture,
    weights: Weights,
    public causal: boolean,
  ) {
    super(config, weights);
  }

  apply(x: Matrix, mask: Matrix | null, positions: Positions, tap: Tap): Matrix {
    const place = (row: number) => row;
    const queries = tap.heads(
      "rotated_queries",
      rotated(positions, this.queries(x, tap), this.heads, place),
      this.heads,
    );
    const { keys, values } = this.keysValues(x, tap);
    const turned = tap.heads("rotated_keys", rotated(positions, keys, this.groups, place), this.groups);
    const bias = positions.bias?.(this.heads, x.rows, x.rows, 0) ?? null;
    return this.attend(queries, turned, values, this.causal ? causalMask(x.rows) : mask, bias, tap);
  }

  start(limit: number): State {
    return new KeysValues(new Matrix(limit, this.key.outputs), new Matrix(limit, this.value.outputs));
  }

  step(x: Matrix, states: State[], position: number, positions: Positions): Matrix {
    const here = () => position;
    const queries = rotated(positions, this.queries(x, SILENT), this.heads, here);
    const { keys, values } = this.keysValues(x, SILENT);
    const turned = rotated(positions, keys, this.groups, here);
    const bias = positions.bias?.(this.heads, 1, position + 1, position) ?? null;
    const contexts = new Matrix(x.rows, queries.width);
    (states as KeysValues[]).forEach((past, row) => {
      past.keys.row(position).data.set(turned.row(row).data);
      past.values.row(position).data.set(values.row(row).data);
      const seen = ({ width, data }: Matrix) =>
        new Matrix(position + 1, width, data.subarray(0, (position + 1) * width));
      const context = attention(queries.row(row), seen(past.keys), seen(past.values), this.heads, null, bias, SILENT);
      contexts.row(row).data.set(context.data);
    });
    return this.output.apply(contexts);
  }
}

/** Keys and values of the encoder's output, and which of them may be attended to. */
export interface Remembered {
  keys: Matrix;
  values: Matrix;
  mask: Matrix;
}

/** Attention whose queries are the decoder's, and whose keys and values are those of the encoder's output. */
export class CrossAttention extends MultiHeadAttention {
  apply(x: Matrix, { keys, values, mask }: Remembered, tap: Tap): Matrix {
    return this.attend(this.queries(x, tap), keys, values, mask, null, tap);
  }
}
