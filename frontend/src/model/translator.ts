// A model with its tokenizers: what `zhuyi look --html` writes into a page, or the server hands out.
import type { Embedded, Model, WhatIf } from "../wire";
import { breakNetwork, withoutPositions } from "./network/broken";
import { SelfAttention, type MultiHeadAttention } from "./network/attention";
import { SHAPES, type Network } from "./network/shapes";
import { decodeWeights, type Weights } from "./network/weights";
import { Tokenizer } from "./text/tokenizer";

export class Translator {
  readonly described: Model;
  /** Whether it is a language model, which continues running text. */
  readonly continues: boolean;
  readonly source: Tokenizer;
  readonly target: Tokenizer;
  readonly weights: Weights;

  /** @param bytes its weights, as `decodeWeights` takes them. */
  constructor({ model, continues, tokenizers, templates, shapes }: Embedded, bytes: ArrayBuffer) {
    this.described = model;
    this.continues = continues;
    [this.source, this.target] = templates.map(
      (template, side) => new Tokenizer(tokenizers[side] ?? tokenizers[0], template),
    );
    this.weights = decodeWeights(bytes, shapes, model.precision);
  }

  /** The network, changed as `whatIf` says. */
  network({ heads_off, positions_off }: Pick<WhatIf, "heads_off" | "positions_off">): Network {
    const { config } = this.described;
    const network = new SHAPES[config.shape](config, this.weights);
    breakNetwork(network);
    const found = attentions(network);
    for (const [name, head] of heads_off) found[name].switchOff(head);
    if (positions_off) withoutPositions(network);
    return network;
  }
}

/** Every attention by its canonical name: `encoder.0.self`, `decoder.2.cross`. */
export function attentions(network: Network): Record<string, MultiHeadAttention> {
  const found: Record<string, MultiHeadAttention> = {};
  for (const [name, stack] of Object.entries(network.stacks)) {
    stack.blocks.forEach(({ mixer, cross }, layer) => {
      if (mixer instanceof SelfAttention) found[`${name}.${layer}.self`] = mixer;
      if (cross) found[`${name}.${layer}.cross`] = cross;
    });
  }
  return found;
}
