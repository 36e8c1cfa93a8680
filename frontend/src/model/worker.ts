// The model in a thread of its own, so that the page stays alive while it computes.
import { Answers } from "./answers";
import { Refusal, type Reason } from "./refusal";

/** What is asked: a method of `Answers` with its arguments. */
export interface Call {
  number: number;
  method: "load" | "look" | "floats" | "heads" | "occlusion" | "tokenise";
  given: unknown[];
}

/** What comes back: a value, or why there is none. */
export interface Reply {
  number: number;
  value?: unknown;
  refused?: { reason: Reason; values: Record<string, string | number> };
  failed?: string;
}

const answers = new Answers();

export function reply({ number, method, given }: Call): Reply {
  try {
    return { number, value: (answers[method] as (...given: unknown[]) => unknown)(...given) };
  } catch (problem) {
    if (problem instanceof Refusal) return { number, refused: { reason: problem.reason, values: problem.values } };
    return { number, failed: String(problem) };
  }
}

// This file is one script by itself. Where a page has no worker, the page runs it, and calls `zhuyiModel`.
const scope = globalThis as unknown as { zhuyiModel: typeof reply; onmessage: (event: MessageEvent<Call>) => void };
if (typeof document === "undefined") scope.onmessage = ({ data }) => postMessage(reply(data));
else scope.zhuyiModel = reply;
