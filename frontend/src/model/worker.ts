// The model in a thread of its own, so that the page stays alive while it computes.
import { Answers } from "./answers";
import { type Problem, problemOf } from "../refusal";

/** What is asked: a method of `Answers` with its arguments. */
export interface Call {
  number: number;
  method: "load" | "look" | "peek" | "floats" | "heads" | "occlusion" | "tokenise";
  given: unknown[];
}

/** What comes back: a value, or why there is none. */
export interface Reply {
  number: number;
  value?: unknown;
  problem?: Problem;
}

const answers = new Answers();

export function reply({ number, method, given }: Call): Reply {
  try {
    return { number, value: (answers[method] as (...given: unknown[]) => unknown)(...given) };
  } catch (problem) {
    return { number, problem: problemOf(problem) };
  }
}

// This file is one script by itself. In a page that cannot have a worker it is run too, and the page calls `zhuyiModel`.
const scope = globalThis as unknown as { zhuyiModel: typeof reply; onmessage: (event: MessageEvent<Call>) => void };
if (typeof document === "undefined") {
  scope.onmessage = ({ data }) => postMessage(reply(data));
  postMessage("ready");
} else {
  scope.zhuyiModel = reply;
}
