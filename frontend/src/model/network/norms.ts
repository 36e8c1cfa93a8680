// Normalisation of each vector by itself. A norm looks for its weights when it is applied: a broken model has none.
import type { Architecture } from "../../wire";
import { Matrix } from "./matrix";
import type { Weights } from "./weights";

export type Norm = (x: Matrix) => Matrix;

export const identity: Norm = (x) => x;

/** x / √(mean x² + ε) · weight (Zhang & Sennrich 2019). */
function rmsNorm(weights: Weights, epsilon: number): Norm {
  return (x) => {
    const y = new Matrix(x.rows, x.width);
    const weight = weights.get("weight").data;
    for (let first = 0; first < x.data.length; first += x.width) {
      let squares = 0;
      for (let k = 0; k < x.width; k++) squares += x.data[first + k] ** 2;
      const scale = 1 / Math.sqrt(squares / x.width + epsilon);
      for (let k = 0; k < x.width; k++) y.data[first + k] = x.data[first + k] * scale * weight[k];
    }
    return y;
  };
}

/** (x − mean) / √(variance + ε) · weight + bias (Ba et al. 2016). */
function layerNorm(weights: Weights, epsilon: number): Norm {
  return (x) => {
    const y = new Matrix(x.rows, x.width);
    const weight = weights.get("weight").data;
    const bias = weights.get("bias").data;
    for (let first = 0; first < x.data.length; first += x.width) {
      let sum = 0;
      let squares = 0;
      for (let k = 0; k < x.width; k++) sum += x.data[first + k];
      const mean = sum / x.width;
      for (let k = 0; k < x.width; k++) squares += (x.data[first + k] - mean) ** 2;
      const scale = 1 / Math.sqrt(squares / x.width + epsilon);
      for (let k = 0; k < x.width; k++) y.data[first + k] = (x.data[first + k] - mean) * scale * weight[k] + bias[k];
    }
    return y;
  };
}

const NORMS = { layer: layerNorm, rms: rmsNorm };

/** A norm of the model's vectors. */
export const normOf = (config: Architecture, weights: Weights): Norm =>
  NORMS[config.norm_kind](weights, config.norm_epsilon);
