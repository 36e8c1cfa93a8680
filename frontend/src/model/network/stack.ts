// A stack of blocks, from tokens to hidden states: embed → positions → norm → blocks → norm.
// Both norms are optional.
//
// The encoder and the decoder are both a `Stack`. The decoder's is causal, and its blocks have cross-attention where
// there is an encoder; it also runs one position at a time, with a cache.
import type { Architecture } from "../../wire";
import { Block, type LayerCache, type Memory } from "./blocks";
import { Matrix } from "./matrix";
import { identity, normOf, type Norm } from "./norms";
import { POSITIONS, type Place, type Positions } from "./positions";
import type { Tap } from "./tap";
import type { Tensor, Weights } from "./weights";

/** The past of every row, which is a hypothesis of the one sentence. A `step` writes into it. */
export interface Cache {
  layers: LayerCache[];
  /** The number of steps so far. */
  position: number;
}

/** Row i of the result continues row `rows[i]`. */
export function selectRows({ layers, position }: Cache, rows: number[]): Cache {
  const selected = layers.map(({ past, memory }) => ({ past: rows.map((row) => past[row].copy(position)), memory }));
  return { layers: selected, position };
}

export class Stack {
  positions: Positions;
  norm: Norm;
  embeddingNorm: Norm;
  private readonly scale: number;
  readonly blocks: Block[];

  constructor(
    config: Architecture,
    weights: Weights,
    readonly embedding: Tensor,
    private readonly causal: boolean,
    cross: boolean,
  ) {
    this.positions = POSITIONS[config.positions](weights, config.width, causal);
    const layers = causal ? config.decoder_layers : config.encoder_layers;
    this.blocks = Array.from(
      { length: layers },
      (_, layer) => new Block(config, weights.part(`blocks.${layer}`), causal, cross),
    );
    this.scale = config.embedding_scale ? Math.sqrt(config.width) : 1;
    this.embeddingNorm = config.embedding_norm ? normOf(config, weights.part("embedding_norm")) : identity;
    this.norm = config.final_norm ? normOf(config, weights.part("norm")) : identity;
  }

  /**
   * The hidden state at every position.
   * @param mask which positions may be attended to; a causal stack has its own.
   * @param memory what cross-attention attends to.
   */
  apply(tokens: number[], mask: Matrix | null, memory: Memory | null, tap: Tap): Matrix {
    let x = tap.rows(
      "input",
      this.add(tap.rows("embedding", this.embed(tokens)), (row) => row),
    );
    this.blocks.forEach((block, layer) => {
      x = block.apply(x, mask, this.positions, memory, tap.within(String(layer)));
    });
    return tap.rows("output", this.norm(x));
  }

  /** The cache before the first of at most `limit` positions. */
  start(rows: number, limit: number, memory: Memory | null): Cache {
    return { layers: this.blocks.map((block) => block.start(rows, limit, memory)), position: 0 };
  }

  /** The hidden state of each row's next position, given its token. */
  step(tokens: number[], cache: Cache): Matrix {
    const { position } = cache;
    let x = this.add(this.embed(tokens), () => position);
    this.blocks.forEach((block, layer) => {
      x = block.step(x, cache.layers[layer], position, this.positions);
    });
    cache.position++;
    return this.norm(x);
  }

  private add(x: Matrix, place: Place): Matrix {
    return this.embeddingNorm(this.positions.add?.(x, place) ?? x);
  }

  private embed(tokens: number[]): Matrix {
    const {
      shape: [, width],
      data,
    } = this.embedding;
    const x = new Matrix(tokens.length, width);
    tokens.forEach((token, row) => {
      for (let k = 0; k < width; k++) x.data[row * width + k] = data[token * width + k] * this.scale;
    });
    return x;
  }
}
