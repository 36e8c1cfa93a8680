// The learned tensors by their names in the model's file, such as `decoder.blocks.0.cross.query.weight`.

export interface Tensor {
  shape: number[];
  data: Float32Array;
}

export class Weights {
  /** @param prefix what the names of this part begin with. */
  constructor(
    readonly tensors: ReadonlyMap<string, Tensor>,
    private readonly prefix = "",
  ) {}

  /** Those of a part of the model, by their names within it. */
  part(name: string): Weights {
    return new Weights(this.tensors, `${this.prefix}${name}.`);
  }

  find(name: string): Tensor | null {
    return this.tensors.get(this.prefix + name) ?? null;
  }

  get(name: string): Tensor {
    const found = this.find(name);
    if (!found) throw new Error(`the weights have no ${this.prefix}${name}`);
    return found;
  }
}

/** IEEE 754 half precision to single. */
function fromHalves(halves: Uint16Array): Float32Array {
  const singles = new Float32Array(1 << 16); // each of the 65,536 numbers once, since a model has many more weights
  for (let bits = 0; bits < singles.length; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) singles[bits] = fraction ? NaN : sign * Infinity;
    else
      singles[bits] = sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }
  const found = new Float32Array(halves.length);
  for (let k = 0; k < found.length; k++) found[k] = singles[halves[k]];
  return found;
}

/**
 * The tensors of a model, which stand one after another in `bytes`, little-endian.
 * @param shapes of each by name, in this order.
 */
export function decodeWeights(
  bytes: ArrayBuffer,
  shapes: Record<string, number[]>,
  precision: "float32" | "float16",
): Weights {
  const all = precision === "float32" ? new Float32Array(bytes) : fromHalves(new Uint16Array(bytes));
  const tensors = new Map<string, Tensor>();
  let first = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const end = first + shape.reduce((a, b) => a * b, 1);
    tensors.set(name, { shape, data: all.subarray(first, end) });
    first = end;
  }
  if (first !== all.length) throw new Error(`there are ${all.length} weights, not ${first}`);
  return new Weights(tensors);
}
