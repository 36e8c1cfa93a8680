// Where numbers come from: the server, or what the file holds. Numbers that are printed are float32, always.
import { computed, signal } from "@preact/signals";

export interface Tokens { ids: number[]; pieces: string[]; characters: [number, number, string][] }
export interface Choice { id: number; piece: string; log_prob: number | null }
/** `tempered`: at each of the model's temperatures, log Σ p^(1/T) and the entropy. */
export interface Step { top: Choice[]; tempered: [number, number][]; eos: number }
export interface Replay { in: Tokens; out: Tokens; steps: Step[]; losses: number[]; smoothed: number[]; ranks: number[] }
export interface Candidate {
  number: number; parent: number | null; step: number; token: number; piece: string;
  log_prob: number; total: number; score: number; fate: "kept" | "finished" | "pruned";
}
export interface Hypothesis { text: string; score: number | null; finished: boolean }
export interface WhatIf { heads_off: [string, number][]; positions_off: boolean; mask_lifted: boolean; prefix: number[] }
export interface Decoding { beam: number; length_penalty: number }
export interface Trace {
  id?: string; checkpoint?: string; text: string; normalised: string; source: Tokens; output: string;
  hypotheses: Hypothesis[]; candidates: Candidate[]; decoding: Decoding; difference: number | null; replay: Replay;
  reference: Replay | null; what_if: WhatIf; shapes: Record<string, number[]>;
}
type Mixer = "attention" | "convolution" | "recurrence";
export interface Config {
  width: number; heads: number; key_value_heads: number; encoder_layers: number; decoder_layers: number;
  norm: "pre" | "post"; norm_kind: "layer" | "rms"; positions: "sinusoidal" | "learned" | "rotary" | "none";
  tie: "none" | "output" | "all"; encoder_mixer: Mixer; decoder_mixer: Mixer;
}
export interface Model {
  zhuyi: string; name: string; config: Config; decoding: Decoding;
  smoothing: number; parameters: number; temperatures: number[]; checkpoints: string[];
}
interface About { text: string; target: string; checkpoint: string }
/** A question says everything, so that two can be compared. */
export interface Request extends About, Decoding, WhatIf {}
interface Held { model: Model; trace: Trace; tensors: Record<string, { roots?: string; floats?: string }> }

const element = document.getElementById("held");
const held: Held | null = element ? JSON.parse(element.textContent!) : null;

export const served = held === null;
export const model = signal<Model | null>(held?.model ?? null);
export const trace = signal<Trace | null>(held?.trace ?? null);
export const error = signal("");
/** The question that the model is at work on. */
const underWay = signal<Request | null>(null);
export const busy = computed(() => underWay.value !== null);
/** The question that the trace answers; a file does not know it. */
export const asked = signal<Request | null>(null);
/** The server has no tensors of this trace any more. */
export const lost = signal(false);
/** What was found, by question. */
const seen = signal<Record<string, { output: string; own: number; reference: number | null }>>({});

const kept = new Map<string, Promise<ArrayBuffer | null>>();
let waiting: Request | null = null;

function bytes(text: string): ArrayBuffer {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
}

function fetched(name: string, kind: "roots" | "floats"): Promise<ArrayBuffer | null> {
  const { id, shapes } = trace.value!;
  const key = `${name} ${kind}`;
  if (!kept.has(key)) {
    if (held) {
      const text = held.tensors[name]?.[kind];
      kept.set(key, Promise.resolve(text === undefined ? null : bytes(text)));
    } else if (!(name in shapes)) {
      kept.set(key, Promise.resolve(null)); // another mixer has other values
    } else {
      const query = kind === "roots" ? "?as=roots" : "";
      kept.set(key, fetch(`api/tensor/${id}/${encodeURIComponent(name)}${query}`)
        .then((answer) => (answer.ok ? answer.arrayBuffer() : Promise.reject()))
        .catch(() => { lost.value ||= id === trace.value!.id; return null; }));
    }
  }
  return kept.get(key)!;
}

/** The numbers of a tensor; null where there are none: the file had no room for them. */
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

/** The last question, answered or not. */
export const latest = () => waiting ?? underWay.value ?? asked.value;

/** The model as it is. */
export const plain = (): Decoding & WhatIf => {
  const { beam, length_penalty } = model.value!.decoding;
  return { beam, length_penalty, heads_off: [], positions_off: false, mask_lifted: false, prefix: [] };
};

/** What a question changes about the model, for the address: nothing, or JSON. */
export function changes(request: Request): string {
  const found = Object.entries(plain()).filter(([key, value]) => JSON.stringify(request[key as keyof WhatIf]) !== JSON.stringify(value));
  return found.length ? JSON.stringify(Object.fromEntries(found.map(([key]) => [key, request[key as keyof WhatIf]]))) : "";
}

/** Look at a sentence with the model as it is, but for these changes. */
export function look(about: About, changed = ""): Promise<void> {
  let given: Partial<Request> = {};
  try { given = JSON.parse(changed); } catch { /* none, or a link that someone has broken */ }
  return ask({ ...about, ...plain(), ...given });
}

/** Ask the same again, but for this. */
export const again = (change: Partial<Request>) => ask({ ...latest()!, ...change });

/** What the same question, but for this, was answered, if it ever was asked. */
export const saw = (change: Partial<Request>) => (asked.value ? seen.value[JSON.stringify({ ...asked.value, ...change })] : undefined);

/** While the model is at work only the last of further questions is kept. */
async function ask(request: Request): Promise<void> {
  if (busy.value) { waiting = request; return; }
  underWay.value = request;
  error.value = "";
  try {
    const answer = await fetch("api/look", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request),
    });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    const own = mean(found.replay.losses), reference = found.reference && mean(found.reference.losses);
    seen.value = { ...seen.value, [JSON.stringify(request)]: { output: found.output, own, reference } };
    asked.value = request;
    kept.clear();
    lost.value = false;
    trace.value = found;
  } catch (problem) {
    error.value = (problem as Error).message;
  } finally {
    underWay.value = null;
    const next = waiting;
    waiting = null;
    if (next) await ask(next);
  }
}
