// Written by frontend/wire.py from src/zhuyi/microscope/schema.py.

export interface Architecture {
  shape: "encoder-decoder" | "decoder" | "encoder";
  labels: "line" | "token";
  width: number;
  heads: number;
  head_width: number;
  key_value_heads: number;
  encoder_layers: number;
  decoder_layers: number;
  feed_forward: number;
  activation: "relu" | "gelu" | "silu" | "swiglu" | "geglu";
  dropout: number;
  attention_dropout: number;
  feed_forward_dropout: number;
  positions: "sinusoidal" | "tensor2tensor" | "learned" | "rotary" | "alibi" | "relative" | "none";
  embedding_scale: boolean;
  embedding_norm: boolean;
  norm: "pre" | "post";
  norm_kind: "layer" | "rms";
  norm_epsilon: number;
  final_norm: boolean;
  bias: "all" | "feed_forward" | "none";
  output_bias: boolean;
  tie: "none" | "embeddings" | "output" | "all";
  mixer: "attention" | "convolution" | "recurrence";
  encoder_mixer: "attention" | "convolution" | "recurrence";
  decoder_mixer: "attention" | "convolution" | "recurrence";
  kernel: number;
  max_length: number;
  without: Array<"mask" | "positions" | "residual" | "norm" | "scaling" | "cross" | "begin" | "end" | "shift" | "warmup">;
}

export interface Candidate {
  number: number;
  parent: number | null;
  step: number;
  token: number;
  piece: string;
  log_prob: number;
  total: number;
  score: number;
  fate: "kept" | "finished" | "pruned";
}

export interface Choice {
  id: number;
  piece: string;
  log_prob: number;
}

export interface Curve {
  steps: Array<number>;
  values: Array<number>;
}

export interface Curves {
  loss: Curve;
  dev_loss: Curve;
  metric: string;
  score: Curve;
}

export interface DecodingConfig {
  strategy: "beam" | "sampling";
  beam: number;
  length_penalty: number;
  penalty: "wu" | "power";
  stop: "bound" | "huggingface" | "huggingface-early" | "marian";
  n_best: number;
  temperature: number;
  top_k: number;
  top_p: number;
  seed: number;
  no_repeat_ngram: number;
  max_repetition: number;
  max_ratio: number | null;
  max_extra: number | null;
  min_length: number;
  end_at_limit: boolean;
  allow_unknown: boolean;
  engine: "auto" | "native" | "torch";
  precision: "float32" | "bf16" | "int8";
  workers: number | null;
}

export interface Embedded {
  model: Model;
  continues: boolean;
  tokenizers: Array<string>;
  templates: Array<Template>;
  shapes: Record<string, Array<number>>;
}

export interface Example {
  text: string;
  target: string;
}

export interface Failure {
  error: string;
  code: "empty_sentence" | "empty_reference" | "long_sentence" | "long_reference" | "labels_of_tokens" | "label_of_sentence" | "checkpoint" | "other";
  values: Record<string, number>;
}

export interface HeadEffect {
  name: string;
  head: number;
  loss: number;
}

export interface HeadEffects {
  heads: Array<HeadEffect>;
}

export interface Held {
  model: Model;
  trace: Trace;
  tensors: Record<string, Numbers>;
}

export interface Hypothesis {
  text: string;
  score: number | null;
  finished: boolean;
}

export interface Model {
  zhuyi: string;
  name: string;
  config: Architecture;
  decoding: DecodingConfig;
  smoothing: number;
  parameters: number;
  precision: "float32" | "float16";
  temperatures: Array<number>;
  checkpoints: Array<string>;
  examples: Array<Example>;
  curves: Curves | null;
  beside: Model | null;
}

export interface Numbers {
  roots: string | null;
  floats: string | null;
}

export interface Occlusion {
  losses: Array<number>;
}

export interface Replay {
  target_in: Tokens;
  target_out: Tokens;
  decoder_in: Tokens;
  steps: Array<Step>;
  losses: Array<number>;
  smoothed: Array<number>;
  ranks: Array<number>;
}

export interface Step {
  top: Array<Choice>;
  allowed: number;
  tempered: Array<[number, number]>;
  eos: number | null;
}

export interface Stored {
  target: string;
  trace: Trace;
  tensors: Record<string, Numbers>;
}

export interface Template {
  prefix: Array<number>;
  tags: Array<number>;
  own: Record<string, number>;
  suffix: Array<number>;
}

export interface Tokens {
  ids: Array<number>;
  pieces: Array<string>;
  characters: Array<[number, number, string]>;
}

export interface Trace {
  id: string;
  checkpoint: string;
  text: string;
  source: Tokens;
  normalised: string;
  output: string;
  hypotheses: Array<Hypothesis>;
  candidates: Array<Candidate>;
  decoding: DecodingConfig;
  difference: number | null;
  given: number;
  what_if: WhatIf;
  replay: Replay;
  reference: Replay | null;
  shapes: Record<string, Array<number>>;
}

export interface WhatIf {
  heads_off: Array<[string, number]>;
  positions_off: boolean;
  mask_lifted: boolean;
  prefix: Array<number>;
}

export interface Place {
  text: string;
  target?: string | null;
  beam?: number | null;
  length_penalty?: number | null;
  heads_off?: Array<[string, number]>;
  positions_off?: boolean;
  mask_lifted?: boolean;
  prefix?: Array<number>;
  checkpoint?: string;
  position: number;
  reference?: boolean;
}

export interface Request {
  text: string;
  target?: string | null;
  beam?: number | null;
  length_penalty?: number | null;
  heads_off?: Array<[string, number]>;
  positions_off?: boolean;
  mask_lifted?: boolean;
  prefix?: Array<number>;
  checkpoint?: string;
}
