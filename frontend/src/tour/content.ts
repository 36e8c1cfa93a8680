// What is said at a stop of the tour, and what is to be seen there.
import type { Change } from "../state";
import { say, type Word } from "../words";

export interface Content {
  sentences: string[];
  /** What is selected for it. */
  seen: Change;
}

export type Values = Record<string, string | number>;

/** A sentence that this model has not is false. */
export const content = (seen: Change, ...sentences: ([Word, Values] | false)[]): Content => ({
  seen,
  sentences: sentences.filter((each) => each !== false).map(([key, values]) => say(key, values)),
});
