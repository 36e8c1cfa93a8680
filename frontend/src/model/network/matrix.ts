// Linear algebra: rows of float32 numbers. Sums are made in float64, as JavaScript's numbers are.

/** Vectors of `width` numbers, one after another: `data[row * width + column]`. A sequence has one at each position. */
export class Matrix {
  constructor(
    readonly rows: number,
    readonly width: number,
    readonly data: Float32Array = new Float32Array(rows * width),
  ) {}

  /** One row, which shares its numbers with this matrix. */
  row(at: number): Matrix {
    return new Matrix(1, this.width, this.data.subarray(at * this.width, (at + 1) * this.width));
  }
}

/** Those of several matrices of one width, one below the other. */
export function stacked(parts: Matrix[]): Matrix {
  const all = new Matrix(
    parts.reduce((sum, part) => sum + part.rows, 0),
    parts[0].width,
  );
  let row = 0;
  for (const part of parts) {
    all.data.set(part.data, row * all.width);
    row += part.rows;
  }
  return all;
}

export function plus(x: Matrix, y: Matrix): Matrix {
  const sum = new Matrix(x.rows, x.width);
  for (let k = 0; k < sum.data.length; k++) sum.data[k] = x.data[k] + y.data[k];
  return sum;
}

/** x Wᵀ for the `outputs × x.width` matrix W: each output is the dot product of a row of x and a row of W. */
export function product(x: Matrix, weight: Float32Array, outputs: number): Matrix {
  const y = new Matrix(x.rows, outputs);
  const inputs = x.width;
  const from = x.data;
  const to = y.data;
  const blocked = outputs - (outputs % 4);
  for (let row = 0; row < x.rows; row++) {
    const first = row * inputs;
    const end = first + inputs;
    // Four rows of W at a time: each number of x is read once for them, and no sum waits for another.
    for (let o = 0; o < blocked; o += 4) {
      let a = o * inputs;
      let b = a + inputs;
      let c = b + inputs;
      let d = c + inputs;
      let sumA = 0;
      let sumB = 0;
      let sumC = 0;
      let sumD = 0;
      for (let k = first; k < end; k++) {
        const value = from[k];
        sumA += value * weight[a++];
        sumB += value * weight[b++];
        sumC += value * weight[c++];
        sumD += value * weight[d++];
      }
      const at = row * outputs + o;
      to[at] = sumA;
      to[at + 1] = sumB;
      to[at + 2] = sumC;
      to[at + 3] = sumD;
    }
    for (let o = blocked; o < outputs; o++) {
      let sum = 0;
      for (let k = first, a = o * inputs; k < end; k++) sum += from[k] * weight[a++];
      to[row * outputs + o] = sum;
    }
  }
  return y;
}
