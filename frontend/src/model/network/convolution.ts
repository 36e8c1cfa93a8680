import type { Architecture } from "../../wire";
import { Linear } from "./linear";
import { Matrix } from "./matrix";
import type { Mixer, State } from "./mixers";
import type { Positions } from "./positions";
import { SILENT, type Tap } from "./tap";
import type { Tensor, Weights } from "./weights";

/** The last kernel − 1 inputs. */
class Inputs implements State {
  constructor(public inputs: Float32Array) {}

  copy(): Inputs {
    return new Inputs(this.inputs.slice());
  }
}

/**
 * A gated convolution over a window of positions (Gehring et al. 2017, section 3.2).
 * The window is centred in the encoder; in the decoder it ends at its own position. Beyond the ends, the input is zero.
 */
export class Convolution implements Mixer {
  private readonly window: Linear;
  private readonly output: Linear;

  constructor(
    private readonly config: Architecture,
    weights: Weights,
    private readonly causal: boolean,
  ) {
    this.window = new Linear(byPlace(weights.get("window.weight")), weights.find("window.bias"));
    this.output = Linear.of(weights.part("output"));
  }

  apply(x: Matrix, mask: Matrix | null, _positions: Positions, tap: Tap): Matrix {
    const { kernel, width } = this.config;
    const before = this.causal ? kernel - 1 : kernel >> 1;
    const padded = new Float32Array((x.rows + kernel - 1) * width);
    const windows = new Matrix(x.rows, kernel * width);
    padded.set(x.data, before * width);
    mask?.data.forEach((seen, row) => {
      if (!seen) padded.fill(0, (before + row) * width, (before + row + 1) * width);
    });
    for (let row = 0; row < x.rows; row++)
      windows.row(row).data.set(padded.subarray(row * width, (row + kernel) * width));
    return this.gate(windows, tap);
  }

  start(): State {
    return new Inputs(new Float32Array((this.config.kernel - 1) * this.config.width));
  }

  step(x: Matrix, states: State[]): Matrix {
    const windows = new Matrix(x.rows, this.config.kernel * x.width);
    (states as Inputs[]).forEach((past, row) => {
      const window = windows.row(row).data;
      window.set(past.inputs);
      window.set(x.row(row).data, past.inputs.length);
      past.inputs = window.slice(x.width);
    });
    return this.gate(windows, SILENT);
  }

  private gate(windows: Matrix, tap: Tap): Matrix {
    const both = this.window.apply(windows);
    const { width } = this.config;
    const gated = new Matrix(windows.rows, width);
    for (let row = 0; row < both.rows; row++) {
      for (let k = 0; k < width; k++) {
        const value = both.data[row * 2 * width + k];
        const gate = both.data[row * 2 * width + width + k];
        gated.data[row * width + k] = value / (1 + Math.exp(-gate));
      }
    }
    return tap.rows("output", this.output.apply(tap.rows("gated", gated)));
  }
}

/** `out in kernel` → `out kernel·in`: a window is then one vector, and the convolution a linear map of it. */
function byPlace({ shape: [outputs, inputs, kernel], data }: Tensor): Tensor {
  const turned = new Float32Array(data.length);
  for (let at = 0, o = 0; o < outputs; o++) {
    for (let place = 0; place < kernel; place++) {
      for (let k = 0; k < inputs; k++) turned[at++] = data[(o * inputs + k) * kernel + place];
    }
  }
  return { shape: [outputs, kernel * inputs], data: turned };
}
