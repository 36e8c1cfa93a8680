// What a part of the model does for one token of the output: the change of its loss when the part is taken away. The
// output is kept and replayed, so that all effects are of the same tokens.
import type { HeadEffect, Request } from "../wire";
import { decode, lifted, lossOf, targetOf, type Decoded } from "./look";
import { everyone } from "./network/attention";
import type { Matrix } from "./network/matrix";
import type { Memory } from "./network/blocks";
import type { Network } from "./network/shapes";
import { Recording, type Replacement } from "./network/tap";
import { refusal } from "../refusal";
import { attentions, type Translator } from "./translator";

/** A position of the output, or of the reference. */
interface Place {
  position: number;
  reference: boolean;
}

/** What is changed for one pass. */
interface Change {
  network?: Network;
  replace?: Record<string, Replacement>;
  /** Which tokens of the source may be attended to. */
  mask?: Matrix;
  /** The encoder's output, where the change leaves it as it is. */
  memory?: Memory;
}

/** The loss at a place: one pass over the target up to there, or over all of it where later positions are seen too. */
function lossAt({ position, reference }: Place, decoded: Decoded, change: Change = {}): number {
  const { source, whatIf, right, hypotheses } = decoded;
  const { network = decoded.network, replace = {}, mask = everyone(source.length), memory } = change;
  const { targetIn, targetOut } = reference
    ? targetOf(network, right!, true)
    : targetOf(network, hypotheses[0].tokens, hypotheses[0].finished);
  const causal = !whatIf.mask_lifted && !network.config.without.includes("mask");
  const given = causal ? targetIn.slice(0, position + 1) : targetIn;
  const tap = new Recording({ ...lifted(whatIf, network), ...replace });
  const hidden = network.hidden(source, mask, given, tap, memory);
  return lossOf(network.project(hidden.row(position)).data, targetOut[position]);
}

/** Of every head, when it is switched off; of one that is off already, 0. */
export function heads(translator: Translator, request: Request, place: Place): HeadEffect[] {
  const decoded = decode(translator, request);
  const { whatIf, network, memory } = decoded;
  const before = lossAt(place, decoded, { memory });
  return Object.entries(attentions(network)).flatMap(([name, attention]) =>
    Array.from({ length: attention.heads }, (_, head) => {
      const without = translator.network({ ...whatIf, heads_off: [...whatIf.heads_off, [name, head]] });
      const change = { network: without, memory: name.startsWith("decoder") ? memory : undefined };
      return { name, head, loss: lossAt(place, decoded, change) - before };
    }),
  );
}

/**
 * Of every token of the source, when it is hidden from attention: it is padding to the encoder and to cross-attention.
 * In the decoder shape, which has neither, no other position attends to it; EOS, which that shape does not read, has no
 * number there.
 */
export function occlusion(translator: Translator, request: Request, place: Place): number[] {
  const { shape, encoder_mixer, decoder_mixer } = translator.described.config;
  const joined = shape === "decoder";
  const mixer = joined ? decoder_mixer : encoder_mixer;
  if (mixer === "recurrence" || (joined && mixer !== "attention")) throw refusal("carried");
  const decoded = decode(translator, request);
  const before = lossAt(place, decoded, { memory: decoded.memory });
  const tokens = joined ? decoded.source.slice(0, -1) : decoded.source;
  return tokens.map((_, token) => {
    const change = joined ? { replace: unseen(token, decoded.network) } : { mask: hiding(token, tokens.length) };
    return lossAt(place, decoded, change) - before;
  });
}

function hiding(token: number, tokens: number): Matrix {
  const mask = everyone(tokens);
  mask.data[token] = 0;
  return mask;
}

/** No position but its own attends to this token. */
function unseen(token: number, network: Network): Record<string, Replacement> {
  const hide: Replacement = ({ shape: [heads, queries, keys], data }) => {
    const scores = data.slice();
    for (let row = 0; row < heads * queries; row++) {
      if (row % queries !== token) scores[row * keys + token] = -Infinity;
    }
    return scores;
  };
  return Object.fromEntries(Object.keys(attentions(network)).map((name) => [`${name}.scores`, hide]));
}
