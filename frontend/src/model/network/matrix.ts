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

export function plus(x: Matrix, y: Matrix): Matrix {
  const sum = new Matrix(x.rows, x.width);
  for (let k = 0; k < sum.data.length; k++) sum.data[k] = x.data[k] + y.data[k];
  return sum;
}

/** x Wᵀ for the `outputs × x.width` matrix W: each output is the dot product of a row of x and a row of W. */
export function product(x: Matrix, weight: Float32Array, outputs: number): Matrix {
  const y = new Matrix(x.rows, outputs);
  // Eight sums at a time, of two rows of x and four of W: each number that is read is used for several of them, and no
  // sum waits for another.
  const rows = x.rows - (x.rows % 2);
  const columns = outputs - (outputs % 4);
  for (let row = 0; row < rows; row += 2) {
    for (let column = 0; column < columns; column += 4) dots(x, weight, y, row, column);
  }
  for (let row = 0; row < rows; row++) {
    for (let column = columns; column < outputs; column++) dot(x, weight, y, row, column);
  }
  for (let row = rows; row < x.rows; row++) {
    for (let column = 0; column < columns; column += 4) fourDots(x, weight, y, row, column);
    for (let column = columns; column < outputs; column++) dot(x, weight, y, row, column);
  }
  return y;
}

function dots(x: Matrix, weight: Float32Array, y: Matrix, row: number, column: number): void {
  const { width, data } = x;
  const p = row * width;
  const q = p + width;
  const a = column * width;
  const b = a + width;
  const c = b + width;
  const d = c + width;
  let pa = 0;
  let pb = 0;
  let pc = 0;
  let pd = 0;
  let qa = 0;
  let qb = 0;
  let qc = 0;
  let qd = 0;
  for (let k = 0; k < width; k++) {
    const ofP = data[p + k];
    const ofQ = data[q + k];
    const ofA = weight[a + k];
    const ofB = weight[b + k];
    const ofC = weight[c + k];
    const ofD = weight[d + k];
    pa += ofP * ofA;
    pb += ofP * ofB;
    pc += ofP * ofC;
    pd += ofP * ofD;
    qa += ofQ * ofA;
    qb += ofQ * ofB;
    qc += ofQ * ofC;
    qd += ofQ * ofD;
  }
  const first = row * y.width + column;
  y.data[first] = pa;
  y.data[first + 1] = pb;
  y.data[first + 2] = pc;
  y.data[first + 3] = pd;
  const second = first + y.width;
  y.data[second] = qa;
  y.data[second + 1] = qb;
  y.data[second + 2] = qc;
  y.data[second + 3] = qd;
}

function fourDots(x: Matrix, weight: Float32Array, y: Matrix, row: number, column: number): void {
  const { width, data } = x;
  const p = row * width;
  const a = column * width;
  const b = a + width;
  const c = b + width;
  const d = c + width;
  let pa = 0;
  let pb = 0;
  let pc = 0;
  let pd = 0;
  for (let k = 0; k < width; k++) {
    const ofP = data[p + k];
    pa += ofP * weight[a + k];
    pb += ofP * weight[b + k];
    pc += ofP * weight[c + k];
    pd += ofP * weight[d + k];
  }
  const first = row * y.width + column;
  y.data[first] = pa;
  y.data[first + 1] = pb;
  y.data[first + 2] = pc;
  y.data[first + 3] = pd;
}

function dot(x: Matrix, weight: Float32Array, y: Matrix, row: number, column: number): void {
  let sum = 0;
  for (let k = 0; k < x.width; k++) sum += x.data[row * x.width + k] * weight[column * x.width + k];
  y.data[row * y.width + column] = sum;
}
