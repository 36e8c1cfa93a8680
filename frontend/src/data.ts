// What the page has asked of the model, and the answers. Numbers that are printed are float32, always.
import { computed, signal } from "@preact/signals";

import { type Problem, problemOf } from "./refusal";
import { BESIDE, frozen, open, type Source } from "./source";
import type { Architecture, Model, Request, Trace, WhatIf } from "./wire";

interface About {
  text: string;
  target: string;
  checkpoint: string;
}
/** What a question may change of the search; sampling has no beam, and labels are not searched for. */
interface Search {
  beam: number | null;
  length_penalty: number | null;
}
/** A question says everything, so that two can be compared. */
export interface Question extends About, Search, WhatIf {}

const opening = open();

/** Whether the page answers questions: a file without its model does not. */
export const served = !frozen;
/** The model of this page. */
export const first = signal<Model | null>(null);
export const trace = signal<Trace | null>(null);
/** The model that is shown: the one of this page, or the other one beside it. */
export const model = computed(() => (trace.value?.checkpoint === BESIDE ? first.value!.beside! : first.value));
/** Why the last question was not answered, or what this page cannot do; words for each code are in `words.ts`. */
export const error = signal<Problem | null>(null);
/** The question that the model is at work on. */
const underWay = signal<Question | null>(null);
export const busy = computed(() => underWay.value !== null);
/** The question that the trace answers; a file does not know it. */
export const asked = signal<Question | null>(null);
/** The server has no tensors of this trace any more. */
export const lost = signal(false);
interface Seen {
  output: string;
  /** Losses of its own output, and of the reference. */
  own: number[];
  reference: number[] | null;
}

/** What was found, by question. */
const seen = signal<Record<string, Seen>>({});

const kept = new Map<string, Promise<unknown>>();
let waiting: Question | null = null;

/** A tensor of the trace that is shown, asked for once. */
function tensor<Kind extends "floats" | "roots">(name: string, kind: Kind): ReturnType<Source[Kind]> {
  const { id, shapes } = trace.value!;
  const key = `${name} ${kind}`;
  const ask = async () => {
    if (!(name in shapes)) return null; // another mixer has other values
    try {
      return await (await opening)[kind](id, name);
    } catch {
      lost.value ||= id === trace.value!.id;
      return null;
    }
  };
  if (!kept.has(key)) kept.set(key, ask());
  return kept.get(key) as ReturnType<Source[Kind]>;
}

/** The numbers of a tensor; null where there are none: the file had no space for them. */
export const floats = (name: string) => tensor(name, "floats");
/** For pictures only: 255·√weight. */
export const roots = (name: string) => tensor(name, "roots");

/** What a head, or a token of the source, does for the loss at a position of the output, or of the reference. */
export const source: Pick<Source, "heads" | "occlusion"> = {
  heads: async (...place) => (await opening).heads(...place),
  occlusion: async (...place) => (await opening).occlusion(...place),
};

export async function start(): Promise<void> {
  try {
    const opened = await opening;
    first.value = await opened.model();
    if (frozen) trace.value = await opened.look({ text: "" });
  } catch (problem) {
    error.value = problemOf(problem);
  }
}

/** The tokens at the positions of a stack. */
export const tokensOf = (stack: "encoder" | "decoder") =>
  stack === "encoder" ? trace.value!.source : trace.value!.replay.decoder_in;

/** The tokens of the answer, one at each step. */
export const answerTokens = () => trace.value!.replay.target_out;

/** Where BOS stands among the decoder's positions: in the decoder shape the source is before it. */
export function begin(): number {
  const { decoder_in, target_in } = trace.value!.replay;
  return decoder_in.ids.length - target_in.ids.length;
}

/** Whether the model writes text, and does not give labels. */
export const writes = () => model.value!.config.shape !== "encoder";

/** The kind of positions that the model has, and whether its decoder is causal: a model may be without (`model.without`). */
export const positionsOf = ({ positions, without }: Architecture) =>
  without.includes("positions") ? "none" : positions;
export const hasMask = () => !model.value!.config.without.includes("mask");

/** Whether a question came after the one that is being answered: what is shown then is not what is wanted. */
export const outdated = () => waiting !== null;

/** The last question, answered or not. */
export const latest = () => waiting ?? underWay.value ?? asked.value;

/** The model as it is. */
export const plain = (): Search & WhatIf => {
  const { strategy, beam, length_penalty } = model.value!.decoding;
  const search = writes()
    ? { beam: strategy === "beam" ? beam : null, length_penalty }
    : { beam: null, length_penalty: null };
  return { ...search, heads_off: [], positions_off: false, mask_lifted: false, prefix: [] };
};

/** What a question changes about the model, for the address: nothing, or JSON. */
export function changes(request: Question): string {
  const found = Object.entries(plain()).filter(
    ([key, value]) => JSON.stringify(request[key as keyof WhatIf]) !== JSON.stringify(value),
  );
  return found.length
    ? JSON.stringify(Object.fromEntries(found.map(([key]) => [key, request[key as keyof WhatIf]])))
    : "";
}

/** Look at a sentence with the model as it is, but for these changes. */
export function look(about: About, changed = ""): Promise<void> {
  let given: Partial<Question> = {};
  try {
    given = JSON.parse(changed);
  } catch {
    /* none, or a link that someone has broken */
  }
  return ask({ ...about, ...plain(), ...given });
}

/** Ask the same again, but for this. */
export const again = (change: Partial<Question>) => ask({ ...latest()!, ...change });

/** What the same question, but for this, was answered, if it ever was asked. */
export const saw = (change: Partial<Question>) =>
  asked.value ? seen.value[JSON.stringify({ ...asked.value, ...change })] : undefined;

/** The answer to a question, which is remembered; its tensors are only where it is to be shown. */
async function answered(request: Question, how: "look" | "peek"): Promise<Trace> {
  const found = await (await opening)[how](request satisfies Request);
  const { output, replay, reference } = found;
  seen.value = {
    ...seen.value,
    [JSON.stringify(request)]: { output, own: replay.losses, reference: reference?.losses ?? null },
  };
  return found;
}

/** Learn what the same question, but for this, is answered, and go on showing what is shown. */
export async function peek(change: Partial<Question>): Promise<void> {
  if (served && asked.value && !saw(change)) await answered({ ...asked.value, ...change }, "peek");
}

/** While the model is at work only the last of further questions is kept. */
async function ask(request: Question): Promise<void> {
  if (busy.value) {
    waiting = request;
    return;
  }
  underWay.value = request;
  error.value = null;
  try {
    const found = await answered(request, "look");
    asked.value = request;
    kept.clear();
    lost.value = false;
    trace.value = found;
  } catch (problem) {
    error.value = problemOf(problem);
  } finally {
    underWay.value = null;
    const next = waiting;
    waiting = null;
    if (next) await ask(next);
  }
}
