// Arithmetic on lists.

/** 0, 1, … */
export const indices = (length: number) => Array.from({ length }, (_, k) => k);

export const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);

export const mean = (values: number[]) => sum(values) / values.length;

/** The index below `length` at which a measure is largest; of several, the first. */
export function argmax(length: number, measure: (index: number) => number): number {
  let best = 0;
  for (let k = 1; k < length; k++) if (measure(k) > measure(best)) best = k;
  return best;
}

/** The Euclidean length of a vector. */
export const lengthOf = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
