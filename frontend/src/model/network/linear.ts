import { product, type Matrix } from "./matrix";
import type { Tensor, Weights } from "./weights";

/** A linear map: W x, and + b if it has a bias, at each position. */
export class Linear {
  readonly outputs: number;
  /** By which its result is multiplied; see `broken.ts`. */
  factor = 1;

  constructor(
    public weight: Tensor,
    private readonly bias: Tensor | null,
  ) {
    this.outputs = weight.shape[0];
  }

  static of(weights: Weights): Linear {
    return new Linear(weights.get("weight"), weights.find("bias"));
  }

  apply(x: Matrix): Matrix {
    const y = product(x, this.weight.data, this.outputs);
    if (this.bias) {
      for (let k = 0; k < y.data.length; k++) y.data[k] += this.bias.data[k % this.outputs];
    }
    if (this.factor !== 1) {
      for (let k = 0; k < y.data.length; k++) y.data[k] *= this.factor;
    }
    return y;
  }
}
