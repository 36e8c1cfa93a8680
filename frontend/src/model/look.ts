// One sentence's way through the model, every value by its name: the same message as Python's `microscope/wire.py` makes.
//
// The encoder reads once, and a recording tap keeps everything. The sentence is decoded as always, and nothing is tapped.
// Then the finished output is replayed once, all positions at the same time (teacher forcing), and recorded again.
import type { DecodingConfig, Replay, Request, Step, Tokens, Trace, WhatIf } from "../wire";
import { largest, logProbabilities, logSumExp } from "./decoding/distribution";
import type { Candidate, Hypothesis } from "./decoding/hypothesis";
import { label, labelLogProbabilities } from "./decoding/labels";
import { search } from "./decoding/search";
import { everyone } from "./network/attention";
import type { Memory } from "./network/blocks";
import { Writer, type Network } from "./network/shapes";
import { Recording, type Replacement } from "./network/tap";
import type { Tensor } from "./network/weights";
import { refusal } from "../refusal";
import { BOS, characters, EOS, PAD, type Tokenizer } from "./text/tokenizer";
import type { Translator } from "./translator";

/** Most tokens of a side: a trace holds layers × heads × tokens² scores and as many weights. */
const MAX_TOKENS = 256;
/** Tokens that a language model writes after a sentence, unless `decoding.max_extra` says how many. */
const CONTINUATION = 20;
/** Tokens of a distribution that are listed. */
export const MAX_LISTED = 20;

export interface Look {
  trace: Trace;
  /** Of the replay, by canonical name. */
  values: ReadonlyMap<string, Tensor>;
}

/** A sentence that was decoded, and the network that did it. */
export interface Decoded {
  network: Network;
  whatIf: WhatIf;
  decoding: DecodingConfig;
  /** Its tokens, EOS at the end; of a language model EOS alone. */
  source: number[];
  /** What the decoder attends to, where there is an encoder before it. */
  memory?: Memory;
  /** What the encoder computed for it, by canonical name. */
  encoded: ReadonlyMap<string, Tensor>;
  hypotheses: Hypothesis[];
  candidates: Candidate[];
  /** The reference's tokens, if there is one. */
  right: number[] | null;
}

/** One pass over a whole target, every position given the right tokens before it. */
interface Replayed {
  targetIn: number[];
  targetOut: number[];
  /** The tokens at the decoder's positions: `targetIn`, which in the decoder shape the source stands before. */
  decoderIn: number[];
  values: ReadonlyMap<string, Tensor>;
  /** The logits of each position. */
  logits: Float32Array[];
}

export function look(translator: Translator, request: Request): Look {
  const decoded = decode(translator, request);
  const { network, source, whatIf, hypotheses, decoding, right } = decoded;
  const [best] = hypotheses;
  const own = replay(decoded, best.tokens, best.finished);
  const reference = right && replay(decoded, right, true);
  const trace: Trace = {
    id: "",
    checkpoint: request.checkpoint ?? "",
    text: request.text,
    source: tokens(translator.source, source),
    normalised: translator.source.normalise(request.text),
    output: translator.target.decode(best.tokens),
    hypotheses: hypotheses.map(({ tokens, score, finished }) => ({
      text: translator.target.decode(tokens),
      score: finite(score),
      finished,
    })),
    candidates: decoded.candidates.map((each) => ({ ...each, piece: translator.target.pieces([each.token])[0] })),
    decoding,
    difference: difference(network, whatIf, own, best),
    given: translator.target.template.prefix.length,
    what_if: whatIf,
    replay: describe(translator, network, own),
    reference: reference && describe(translator, network, reference),
    shapes: {
      ...Object.fromEntries(
        Array.from(translator.weights.tensors, ([name, { shape }]) => [`parameters.${name}`, shape]),
      ),
      ...Object.fromEntries(Array.from(own.values, ([name, { shape }]) => [name, shape])),
    },
  };
  return { trace, values: own.values };
}

/** Decode as a request asks. */
export function decode(translator: Translator, request: Request): Decoded {
  const { config, decoding: own } = translator.described;
  const longest = Math.min(MAX_TOKENS, config.max_length);
  const whatIf: WhatIf = {
    heads_off: [...(request.heads_off ?? [])].sort(([a, i], [b, j]) => (a < b ? -1 : a > b ? 1 : i - j)),
    positions_off: request.positions_off ?? false,
    mask_lifted: request.mask_lifted ?? false,
    prefix: request.prefix ?? [],
  };
  let sentence = translator.source.encode(request.text);
  const given = translator.target.template.prefix;
  let prefix = [...whatIf.prefix, ...given.slice(whatIf.prefix.length)];
  checkLength(sentence, longest, "sentence");
  const right = request.target ? translator.target.encode(request.target) : null;
  if (right) checkLength(right, longest, "reference");
  if (prefix.some((token) => token === PAD || token === BOS || token < 0 || token >= translator.target.size))
    throw refusal("other", {}, "the prefix holds a number that is no token of the target");

  const decoding = { ...own, length_penalty: request.length_penalty ?? own.length_penalty };
  if (request.beam != null) Object.assign(decoding, { beam: request.beam, n_best: Math.min(own.n_best, request.beam) });
  if (translator.continues) {
    if (!prefix.length) prefix = sentence;
    sentence = [];
    decoding.max_extra = prefix.length + Math.min(decoding.max_extra ?? CONTINUATION, CONTINUATION);
  }
  const network = translator.network(whatIf);
  const source = sentence.includes(EOS) ? sentence : [...sentence, EOS];
  if (!(network instanceof Writer)) {
    if (right) checkLabels(right, config.labels === "token" ? sentence.length : 1, config.labels);
    return {
      network,
      whatIf,
      decoding,
      source,
      right,
      encoded: new Map(),
      hypotheses: label(network, source, decoding.n_best),
      candidates: [],
    };
  }
  const tap = new Recording();
  const memory = network.remember?.(source, everyone(source.length), tap);
  const found = search(network, source, memory, decoding, longest, prefix);
  if (!found.hypotheses.length) throw refusal("nan");
  return { network, whatIf, decoding, source, memory, encoded: tap.values, right, ...found };
}

function checkLength(tokens: number[], longest: number, what: "sentence" | "reference"): void {
  if (!tokens.length) throw refusal(`empty_${what}`);
  if (tokens.length + 1 > longest) throw refusal(`long_${what}`, { tokens: tokens.length, most: longest - 1 });
}

function checkLabels(right: number[], wanted: number, labels: "line" | "token"): void {
  if (right.length === wanted) return;
  throw refusal(labels === "token" ? "labels_of_tokens" : "label_of_sentence", { labels: right.length, wanted });
}

/** Masks of the decoder's self-attention that hide nothing, where that is asked for. */
export function lifted({ mask_lifted }: WhatIf, { stacks }: Network): Record<string, Replacement> {
  const layers = mask_lifted ? (stacks.decoder?.blocks ?? []) : [];
  return Object.fromEntries(layers.map((_, layer) => [`decoder.${layer}.self.mask`, ({ data }) => data.map(() => 1)]));
}

/** What a target is written from, and what is right at each place; EOS ends the tokens if they are `finished`. */
export function targetOf(
  network: Network,
  tokens: number[],
  finished: boolean,
): { targetIn: number[]; targetOut: number[] } {
  if (!(network instanceof Writer)) return { targetIn: [], targetOut: tokens };
  const targetOut = finished ? [...tokens, EOS] : tokens;
  return { targetIn: [BOS, ...targetOut.slice(0, -1)], targetOut };
}

function replay(decoded: Decoded, tokens: number[], finished: boolean): Replayed {
  const { network, source, whatIf, memory, encoded } = decoded;
  const { targetIn, targetOut } = targetOf(network, tokens, finished);
  const tap = new Recording(lifted(whatIf, network), new Map(encoded));
  const all = network.forward(source, targetIn, tap, memory);
  const logits = targetOut.map((_, row) => all.row(row).data); // the source's EOS has no label
  if (!all.data.every(Number.isFinite)) throw refusal("nan");
  const shape = [targetOut.length, all.width];
  tap.values.set("logits", { shape, data: all.data.subarray(0, shape[0] * shape[1]) });
  const decoderIn = network.config.shape === "decoder" ? [...source.slice(0, -1), ...targetIn] : targetIn;
  return { targetIn, targetOut, decoderIn, values: tap.values, logits };
}

const logProbsOf = (network: Network, logits: Float32Array) =>
  (network instanceof Writer ? logProbabilities : labelLogProbabilities)(logits);

/** Cross entropy of a token in nats, over the whole vocabulary. */
export const lossOf = (logits: Float32Array, right: number) => Math.fround(logSumExp(logits) - logits[right]);

function smoothedLoss(logits: Float32Array, right: number, smoothing: number): number {
  const logSum = logSumExp(logits);
  const mean = logits.reduce((sum, logit) => sum + logSum - logit, 0) / logits.length;
  return (1 - smoothing) * (logSum - logits[right]) + smoothing * mean;
}

/** The largest difference between a token's log-probability in decoding and in the replay. */
function difference(
  network: Network,
  { mask_lifted }: WhatIf,
  { logits, targetOut }: Replayed,
  best: Hypothesis,
): number | null {
  if (mask_lifted || network.config.without.includes("mask")) return null; // it is meant to differ
  const distances = targetOut.map((token, k) => Math.abs(logProbsOf(network, logits[k])[token] - best.logProbs[k]));
  return finite(Math.max(...distances));
}

function describe(
  { target, described }: Translator,
  network: Network,
  { targetIn, targetOut, decoderIn, logits }: Replayed,
): Replay {
  return {
    target_in: tokens(target, targetIn),
    target_out: tokens(target, targetOut),
    decoder_in: tokens(target, decoderIn),
    steps: logits.map((each) => step(target, each, logProbsOf(network, each), described.temperatures)),
    losses: logits.map((each, k) => lossOf(each, targetOut[k])),
    smoothed: logits.map((each, k) => smoothedLoss(each, targetOut[k], described.smoothing)),
    ranks: logits.map((each, k) => each.reduce((rank, logit) => rank + Number(logit > each[targetOut[k]]), 0)),
  };
}

function step(target: Tokenizer, logits: Float32Array, logProbs: Float32Array, temperatures: number[]): Step {
  const top = largest(logProbs, MAX_LISTED).filter((id) => logProbs[id] > -Infinity); // the others are never written
  return {
    top: top.map((id) => ({ id, piece: target.pieces([id])[0], log_prob: logProbs[id] })),
    allowed: -lossOf(logits, top[0]) - logProbs[top[0]],
    tempered: temperatures.map((temperature) => tempered(logProbs, temperature)),
    eos: finite(logProbs[EOS]),
  };
}

/** log Σ p^(1/T), which makes each log p / T a log-probability again, and the entropy in nats. */
function tempered(logProbs: Float32Array, temperature: number): [number, number] {
  const most = logProbs.reduce((a, b) => Math.max(a, b)) / temperature;
  let sum = 0;
  let weighted = 0;
  for (let k = 0; k < logProbs.length; k++) {
    if (logProbs[k] === -Infinity) continue;
    const cooled = logProbs[k] / temperature - most;
    const weight = Math.exp(cooled);
    sum += weight;
    weighted += weight * cooled;
  }
  return [most + Math.log(sum), Math.log(sum) - weighted / sum];
}

function tokens(tokenizer: Tokenizer, ids: number[]): Tokens {
  const pieces = tokenizer.pieces(ids);
  return { ids, pieces, characters: characters(pieces) };
}

const finite = (value: number) => (Number.isFinite(value) ? value : null);
