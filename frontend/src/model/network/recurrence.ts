import type { Architecture } from "../../wire";
import { Linear } from "./linear";
import { Matrix, plus } from "./matrix";
import type { Mixer, State } from "./mixers";
import type { Positions } from "./positions";
import type { Tap } from "./tap";
import type { Weights } from "./weights";

/** The output h and the cell c. */
class Memory implements State {
  constructor(
    public h: Float32Array,
    public c: Float32Array,
  ) {}

  copy(): Memory {
    return new Memory(this.h, this.c); // a step replaces both, and writes into neither
  }
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** An LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000). */
class LSTM {
  readonly width: number;
  private readonly ofInput: Linear;
  private readonly ofPast: Linear;

  constructor(weights: Weights) {
    this.ofInput = new Linear(weights.get("weight_ih_l0"), weights.get("bias_ih_l0"));
    this.ofPast = new Linear(weights.get("weight_hh_l0"), weights.get("bias_hh_l0"));
    this.width = this.ofInput.outputs / 4;
  }

  start(): Memory {
    return new Memory(new Float32Array(this.width), new Float32Array(this.width));
  }

  /** One step of each row. */
  step(x: Matrix, memories: Memory[]): Matrix {
    const { width } = this;
    const past = new Matrix(x.rows, width);
    const states = new Matrix(x.rows, width);
    memories.forEach(({ h }, row) => past.row(row).data.set(h));
    const four = plus(this.ofInput.apply(x), this.ofPast.apply(past));
    memories.forEach((memory, row) => {
      const [input, forget, candidate, output] = [0, 1, 2, 3].map((k) =>
        four.row(row).data.subarray(k * width, (k + 1) * width),
      );
      memory.c = memory.c.map((c, k) => sigmoid(forget[k]) * c + sigmoid(input[k]) * Math.tanh(candidate[k]));
      memory.h = memory.c.map((c, k) => sigmoid(output[k]) * Math.tanh(c));
      states.row(row).data.set(memory.h);
    });
    return states;
  }

  /** All positions, in the order that is given. */
  read(x: Matrix, order: number[]): Matrix {
    const states = new Matrix(x.rows, this.width);
    const memory = this.start();
    for (const row of order) states.row(row).data.set(this.step(x.row(row), [memory]).data);
    return states;
  }
}

/** LSTMs: forwards in the decoder; in the encoder, two of half the width, one in each direction. */
export class Recurrence implements Mixer {
  private readonly forwards: LSTM;
  private readonly backwards: LSTM | null;
  private readonly output: Linear;

  constructor(_config: Architecture, weights: Weights, causal: boolean) {
    this.forwards = new LSTM(weights.part("forwards"));
    this.backwards = causal ? null : new LSTM(weights.part("backwards"));
    this.output = Linear.of(weights.part("output"));
  }

  apply(x: Matrix, _mask: Matrix | null, _positions: Positions, tap: Tap): Matrix {
    const order = Array.from({ length: x.rows }, (_, row) => row);
    const forwards = this.forwards.read(x, order);
    const states = this.backwards ? sideBySide(forwards, this.backwards.read(x, order.reverse())) : forwards;
    return tap.rows("output", this.output.apply(tap.rows("states", states)));
  }

  start(): State {
    return this.forwards.start();
  }

  step(x: Matrix, states: State[]): Matrix {
    return this.output.apply(this.forwards.step(x, states as Memory[]));
  }
}

function sideBySide(left: Matrix, right: Matrix): Matrix {
  const both = new Matrix(left.rows, left.width + right.width);
  for (let row = 0; row < left.rows; row++) {
    both.data.set(left.row(row).data, row * both.width);
    both.data.set(right.row(row).data, row * both.width + left.width);
  }
  return both;
}
