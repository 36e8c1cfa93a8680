// Taps give every intermediate value of the forward pass its name, the same as in Python's `model/tap.py`.
import type { Matrix } from "./matrix";
import type { Tensor } from "./weights";

/** Changes a value on its way. */
export type Replacement = (value: Tensor) => Float32Array;

export interface Tap {
  /** Gives back the value, or its replacement. */
  keep(name: string, shape: number[], data: Float32Array): Float32Array;
  /** The vectors of a sequence: `time width`. */
  rows(name: string, x: Matrix): Matrix;
  /** The same cut into heads: `heads time head_width`. */
  heads(name: string, x: Matrix, heads: number): Matrix;
  /** The tap of a part of the model: its names begin with `scope`. */
  within(scope: string): Tap;
}

export const SILENT: Tap = {
  keep: (_name, _shape, data) => data,
  rows: (_name, x) => x,
  heads: (_name, x) => x,
  within: () => SILENT,
};

/** Keeps every value under its full name, and replaces those that `replace` has a function for. */
export class Recording implements Tap {
  constructor(
    private readonly replace: Record<string, Replacement> = {},
    readonly values = new Map<string, Tensor>(),
    private readonly prefix = "",
  ) {}

  keep(name: string, shape: number[], data: Float32Array): Float32Array {
    const full = this.prefix + name;
    const replacement = this.replace[full];
    const kept = replacement ? replacement({ shape, data }) : data;
    this.values.set(full, { shape, data: kept });
    return kept;
  }

  rows(name: string, x: Matrix): Matrix {
    this.keep(name, [x.rows, x.width], x.data);
    return x;
  }

  heads(name: string, x: Matrix, heads: number): Matrix {
    const width = x.width / heads;
    const cut = new Float32Array(x.data.length);
    for (let head = 0; head < heads; head++) {
      for (let row = 0; row < x.rows; row++) {
        const first = row * x.width + head * width;
        cut.set(x.data.subarray(first, first + width), (head * x.rows + row) * width);
      }
    }
    this.keep(name, [heads, x.rows, width], cut);
    return x;
  }

  within(scope: string): Recording {
    return new Recording(this.replace, this.values, `${this.prefix}${scope}.`);
  }
}
