// Three shapes of one Transformer: the same stacks, put together in three ways.
//
//   encoder-decoder    encoder(source) → memory;  decoder(BOS target), which attends to the memory → target EOS
//   decoder            decoder(source BOS target), one sequence → target EOS (GPT: Radford et al. 2018)
//   encoder            encoder(source) → a label for the line, or one for each token (BERT: Devlin et al. 2019)
import type { Architecture } from "../../wire";
import { everyone } from "./attention";
import type { Memory } from "./blocks";
import { Linear } from "./linear";
import { Matrix } from "./matrix";
import { selectRows, Stack, type Cache } from "./stack";
import type { Tap } from "./tap";
import type { Tensor, Weights } from "./weights";

export abstract class Network {
  abstract readonly stacks: Partial<Record<"encoder" | "decoder", Stack>>;
  private readonly projection: Linear;

  constructor(
    readonly config: Architecture,
    weights: Weights,
  ) {
    const bias = config.output_bias ? weights.get("projection.bias") : null;
    this.projection = new Linear(firstOf(weights, "projection", "decoder.embedding", "encoder.embedding"), bias);
  }

  /**
   * The hidden state behind each output, given the source and, for a target, its tokens before it.
   * @param mask which tokens of the source may be attended to.
   * @param memory of the source, where it is known already and the shape has one.
   */
  abstract hidden(source: number[], mask: Matrix, targetIn: number[], tap: Tap, memory?: Memory): Matrix;

  /** Logits of each output: the distribution over the vocabulary, before its softmax. */
  forward(source: number[], targetIn: number[], tap: Tap, memory?: Memory): Matrix {
    return tap.rows("logits", this.project(this.hidden(source, everyone(source.length), targetIn, tap, memory)));
  }

  /** Logits of hidden states. */
  project(hidden: Matrix): Matrix {
    return this.projection.apply(hidden);
  }
}

/** A network that writes token by token. */
export abstract class Writer extends Network {
  /** What the decoder attends to, in a shape whose decoder does not read the source itself. */
  remember?(source: number[], mask: Matrix, tap: Tap): Memory;

  /** The cache after the source was read, with space for `limit` tokens in each row. */
  abstract read(source: number[], memory: Memory | undefined, rows: number, limit: number): Cache;

  /** Logits after one more token in each row, BOS first. */
  step(tokens: number[], cache: Cache): Matrix {
    return this.project(this.stacks.decoder!.step(tokens, cache));
  }
}

class EncoderDecoder extends Writer {
  readonly stacks: Record<"encoder" | "decoder", Stack>;

  constructor(config: Architecture, weights: Weights) {
    super(config, weights);
    const source = firstOf(weights, "encoder.embedding", "decoder.embedding");
    const target = firstOf(weights, "decoder.embedding", "encoder.embedding");
    this.stacks = {
      encoder: new Stack(config, weights.part("encoder"), source, false, false),
      decoder: new Stack(config, weights.part("decoder"), target, true, true),
    };
  }

  hidden(
    source: number[],
    mask: Matrix,
    targetIn: number[],
    tap: Tap,
    memory = this.remember(source, mask, tap),
  ): Matrix {
    return this.stacks.decoder.apply(targetIn, null, memory, tap.within("decoder"));
  }

  read(_source: number[], memory: Memory | undefined, rows: number, limit: number): Cache {
    return this.stacks.decoder.start(rows, limit, memory!);
  }

  remember(source: number[], mask: Matrix, tap: Tap): Memory {
    return { states: this.stacks.encoder.apply(source, mask, null, tap.within("encoder")), mask };
  }
}

/** Source and target are one sequence, with BOS between them. It has no mask but the causal one. */
class DecoderOnly extends Writer {
  readonly stacks: { decoder: Stack };

  constructor(config: Architecture, weights: Weights) {
    super(config, weights);
    this.stacks = {
      decoder: new Stack(config, weights.part("decoder"), weights.get("decoder.embedding.weight"), true, false),
    };
  }

  hidden(source: number[], _mask: Matrix, targetIn: number[], tap: Tap): Matrix {
    const before = source.slice(0, -1); // without EOS: BOS comes next
    const { rows, width, data } = this.stacks.decoder.apply(
      [...before, ...targetIn],
      null,
      null,
      tap.within("decoder"),
    );
    return new Matrix(rows - before.length, width, data.subarray(before.length * width));
  }

  read(source: number[], _memory: Memory | undefined, rows: number, limit: number): Cache {
    const before = source.slice(0, -1);
    const { decoder } = this.stacks;
    const cache = decoder.start(1, before.length + limit, null);
    for (const token of before) decoder.step([token], cache);
    return selectRows(cache, Array<number>(rows).fill(0));
  }
}

class EncoderOnly extends Network {
  readonly stacks: { encoder: Stack };

  constructor(config: Architecture, weights: Weights) {
    super(config, weights);
    this.stacks = {
      encoder: new Stack(config, weights.part("encoder"), weights.get("encoder.embedding.weight"), false, false),
    };
  }

  /** The states of all source positions; for one label of the line their mean. */
  hidden(source: number[], mask: Matrix, _targetIn: number[], tap: Tap): Matrix {
    const states = this.stacks.encoder.apply(source, mask, null, tap.within("encoder"));
    return this.config.labels === "token" ? states : tap.rows("pooled", mean(states, mask));
  }
}

/** Of the rows where the mask is 1. */
function mean({ rows, width, data }: Matrix, mask: Matrix): Matrix {
  const pooled = new Matrix(1, width);
  const count = mask.data.reduce((a, b) => a + b, 0);
  for (let k = 0; k < width; k++) {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += data[row * width + k] * mask.data[row];
    pooled.data[k] = sum / count;
  }
  return pooled;
}

/** A matrix that is tied to others has the name of one of them. */
function firstOf(weights: Weights, ...names: string[]): Tensor {
  const found = names.find((name) => weights.find(`${name}.weight`)) ?? names[0];
  return weights.get(`${found}.weight`);
}

export const SHAPES: Record<Architecture["shape"], new (config: Architecture, weights: Weights) => Network> = {
  "encoder-decoder": EncoderDecoder,
  decoder: DecoderOnly,
  encoder: EncoderOnly,
};
