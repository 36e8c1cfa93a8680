// Where numbers come from: the server, or what the file holds. Numbers that are printed are float32, always.
import { signal } from "@preact/signals";

export interface Tokens { ids: number[]; pieces: string[]; characters: [number, number, string][] }
export interface Choice { id: number; piece: string; log_prob: number | null }
/** `tempered`: at each of the model's temperatures, log Σ p^(1/T) and the entropy. */
export interface Step { top: Choice[]; tempered: [number, number][]; chosen: number; eos: number }
export interface Replay { in: Tokens; out: Tokens; steps: Step[]; losses: number[]; smoothed: number[]; ranks: number[] }
export interface Candidate {
  number: number; parent: number | null; step: number; token: number; piece: string;
  log_prob: number; total: number; score: number; fate: "kept" | "finished" | "pruned";
}
export interface Hypothesis { text: string; pieces: string[]; score: number | null; finished: boolean }
export interface WhatIf { heads_off: [string, number][]; positions_off: boolean; mask_lifted: boolean; prefix: number[] }
export interface Trace {
  id?: string; checkpoint?: string; text: string; normalised: string; source: Tokens; output: string;
  hypotheses: Hypothesis[]; candidates: Candidate[]; difference: number | null; replay: Replay;
  reference: Replay | null; what_if: WhatIf; shapes: Record<string, number[]>;
}
export interface Config {
  width: number; heads: number; key_value_heads: number; encoder_layers: number; decoder_layers: number;
  feed_forward: number; norm: "pre" | "post"; norm_kind: string; positions: string; activation: string; tie: string;
  mixer: string; encoder_mixer: string | null; decoder_mixer: string | null; max_length: number; head_width?: number;
}
export interface Model {
  zhuyi: string; name: string; config: Config; decoding: { beam: number; length_penalty: number };
  smoothing: number; parameters: number; longest: number; shared: boolean; temperatures: number[]; checkpoints: string[];
}
export interface Request extends Partial<WhatIf> {
  text: string; target?: string; beam?: number; length_penalty?: number; checkpoint?: string;
}
interface Held { model: Model; trace: Trace; tensors: Record<string, { roots?: string; floats?: string }> }

const element = document.getElementById("held");
const held: Held | null = element ? JSON.parse(element.textContent!) : null;

export const served = held === null;
export const model = signal<Model | null>(held?.model ?? null);
export const trace = signal<Trace | null>(held?.trace ?? null);
export const error = signal("");
export const busy = signal(false);
export const asked = signal<Request | null>(null);
/** What each checkpoint that was looked at made of this sentence. */
export const seen = signal<Record<string, { output: string; own: number; reference: number | null }>>({});

const kept = new Map<string, Promise<ArrayBuffer | null>>();
let waiting: Request | null = null;

function bytes(text: string): ArrayBuffer {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
}

function fetched(name: string, kind: "roots" | "floats"): Promise<ArrayBuffer | null> {
  const id = trace.value?.id ?? "";
  const key = `${id} ${name} ${kind}`;
  if (!kept.has(key)) {
    if (held) {
      const text = held.tensors[name]?.[kind];
      kept.set(key, Promise.resolve(text === undefined ? null : bytes(text)));
    } else {
      const query = kind === "roots" ? "?as=roots" : "";
      kept.set(key, fetch(`api/tensor/${id}/${encodeURIComponent(name)}${query}`)
        .then((answer) => (answer.ok ? answer.arrayBuffer() : null)).catch(() => null));
    }
  }
  return kept.get(key)!;
}

/** The numbers of a tensor; null where the file has no room for them. */
export async function floats(name: string): Promise<Float32Array | null> {
  const found = await fetched(name, "floats");
  return found && new Float32Array(found);
}

/** For pictures only: 255·√weight. */
export async function roots(name: string): Promise<Uint8Array | null> {
  const found = await fetched(name, "roots");
  return found && new Uint8Array(found);
}

export async function start(): Promise<void> {
  if (held) return;
  model.value = await (await fetch("api/model")).json();
}

export const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** Ask the model; while it is at work only the last of further questions is kept. */
export async function look(request: Request): Promise<void> {
  if (busy.value) { waiting = request; return; }
  busy.value = true;
  error.value = "";
  try {
    const answer = await fetch("api/look", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request),
    });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    remember(request, found);
    asked.value = request;
    kept.clear();
    trace.value = found;
  } catch (problem) {
    error.value = (problem as Error).message;
  } finally {
    busy.value = false;
    const next = waiting;
    waiting = null;
    if (next) await look(next);
  }
}

/** Ask the same again, but for this. */
export const again = (change: Partial<Request>) => look({ ...asked.value!, ...change });

function remember(request: Request, found: Trace): void {
  const same = asked.value?.text === request.text && asked.value?.target === request.target;
  const own = mean(found.replay.losses), reference = found.reference && mean(found.reference.losses);
  seen.value = { ...(same ? seen.value : {}), [found.checkpoint ?? ""]: { output: found.output, own, reference } };
}
