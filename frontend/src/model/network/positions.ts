// Positional encoding: attention by itself does not know the order of its input.
//
// One of them may add to the embeddings (sinusoidal, learned), rotate queries and keys (rotary), or give a bias on the
// scores (ALiBi, relative). One that does nothing of this is no encoding.
import type { Architecture } from "../../wire";
import { Matrix } from "./matrix";
import type { Tensor, Weights } from "./weights";

/** The position of each row: that of the first one, or the same for all where rows are hypotheses. */
export type Place = (row: number) => number;

export interface Positions {
  /** Embeddings with their positions added. */
  add?(x: Matrix, place: Place): Matrix;
  /** Queries or keys, rotated by their positions. */
  rotate?(x: Matrix, heads: number, place: Place): Matrix;
  /** What is added to scores, `heads queries keys`: queries stand at `start` and after it, keys at 0, 1, ... */
  bias?(heads: number, queries: number, keys: number, start: number): Tensor;
}

/** Positions per radian, 10000^(m / width) for m = 0, 2, 4, ... */
export const wavelength = (pair: number, width: number) => 10000 ** ((2 * pair) / width);

/** The width whose last wavelength is 10000 itself, as tensor2tensor has them. */
export const tensor2tensor = (width: number) => Math.max(2 * Math.ceil(width / 2) - 2, 1);

/** A coordinate of sin and cos, side by side, of wavelengths in a geometric series (Vaswani et al. 2017, section 3.5). */
export function sinusoid(position: number, coordinate: number, period: number): number {
  const angle = position / wavelength(coordinate >> 1, period);
  return coordinate % 2 ? Math.cos(angle) : Math.sin(angle);
}

/** Adds a vector to each position's embedding. */
class Added implements Positions {
  constructor(private readonly vector: (position: number) => Float32Array) {}

  add(x: Matrix, place: Place): Matrix {
    const sum = new Matrix(x.rows, x.width);
    for (let row = 0; row < x.rows; row++) {
      const vector = this.vector(place(row));
      const first = row * x.width;
      for (let k = 0; k < x.width; k++) sum.data[first + k] = x.data[first + k] + vector[k];
    }
    return sum;
  }
}

const sinusoids = (width: number, period: number) =>
  new Added((position) => Float32Array.from({ length: width }, (_, k) => sinusoid(position, k, period)));

function learned(weights: Weights): Positions {
  return new Added((position) => {
    const {
      shape: [, width],
      data,
    } = weights.get("positions.table"); // only now: a broken model has none
    return data.subarray(position * width, (position + 1) * width);
  });
}

/** Rotates pairs of coordinates, i and i + half, by angles that grow with the position (Su et al. 2021). */
class Rotary implements Positions {
  private readonly turns: { cosine: Float32Array; sine: Float32Array }[] = [];

  rotate(x: Matrix, heads: number, place: Place): Matrix {
    const y = new Matrix(x.rows, x.width);
    const width = x.width / heads;
    const half = width / 2;
    for (let row = 0; row < x.rows; row++) {
      const { cosine, sine } = this.at(place(row), width);
      for (let head = 0; head < heads; head++) {
        const first = row * x.width + head * width;
        for (let i = first, pair = 0; pair < half; i++, pair++) {
          y.data[i] = x.data[i] * cosine[pair] - x.data[i + half] * sine[pair];
          y.data[i + half] = x.data[i + half] * cosine[pair] + x.data[i] * sine[pair];
        }
      }
    }
    return y;
  }

  private at(position: number, width: number) {
    const angles = () => Array.from({ length: width / 2 }, (_, pair) => position / wavelength(pair, width));
    return (this.turns[position] ??= {
      cosine: Float32Array.from(angles(), Math.cos),
      sine: Float32Array.from(angles(), Math.sin),
    });
  }
}

/** What the scores of a head lose for each position between query and key (Press et al. 2022, section 3). */
export const slope = (head: number, heads: number) => 2 ** ((-8 * (head + 1)) / heads);

/** Lowers each score by the distance between query and key, times the slope of its head. */
class ALiBi implements Positions {
  bias(heads: number, queries: number, keys: number, start: number): Tensor {
    const data = new Float32Array(heads * queries * keys);
    for (let head = 0, at = 0; head < heads; head++) {
      const m = slope(head, heads);
      for (let i = 0; i < queries; i++) for (let j = 0; j < keys; j++) data[at++] = -m * Math.abs(start + i - j);
    }
    return { shape: [heads, queries, keys], data };
  }
}

const FARTHEST = 128;

/** The row of a distance from query to key among `buckets` of T5 (Raffel et al. 2020, section 2.1). */
function bucketOf(distance: number, buckets: number, causal: boolean): number {
  if (!causal) {
    const half = buckets / 2;
    return (distance > 0 ? half : 0) + bucketOf(-Math.abs(distance), half, true);
  }
  const before = Math.max(-distance, 0);
  const exact = buckets / 2;
  if (before < exact) return before;
  const octaves = Math.log(before / exact) / Math.log(FARTHEST / exact);
  // As exact as logarithms are, 16 / 8 must not fall short of the bucket that it begins.
  return Math.min(exact + Math.floor(octaves * (buckets - exact) + 1e-9), buckets - 1);
}

/** Adds to each score a number learned for each head and distance, of which far ones share theirs. */
class Relative implements Positions {
  constructor(
    private readonly weights: Weights,
    private readonly causal: boolean,
  ) {}

  bias(heads: number, queries: number, keys: number, start: number): Tensor {
    const {
      shape: [buckets],
      data: table,
    } = this.weights.get("positions.table"); // only now: a broken model has none
    const data = new Float32Array(heads * queries * keys);
    for (let i = 0; i < queries; i++)
      for (let j = 0; j < keys; j++) {
        const row = bucketOf(j - start - i, buckets, this.causal) * heads;
        for (let head = 0; head < heads; head++) data[(head * queries + i) * keys + j] = table[row + head];
      }
    return { shape: [heads, queries, keys], data };
  }
}

type Make = (weights: Weights, width: number, causal: boolean) => Positions;

/** `weights` and `causal` are those of the stack; `width` is the model's. */
export const POSITIONS: Record<Architecture["positions"], Make> = {
  sinusoidal: (_, width) => sinusoids(width, width),
  tensor2tensor: (_, width) => sinusoids(width, tensor2tensor(width)),
  learned,
  rotary: () => new Rotary(),
  alibi: () => new ALiBi(),
  relative: (weights, _, causal) => new Relative(weights, causal),
  none: () => ({}),
};
