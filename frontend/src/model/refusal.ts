/** Why a question cannot be answered: a key of the page's words, `refused_…`, and what is filled in. */
export type Reason =
  | "empty_sentence"
  | "empty_reference"
  | "long_sentence"
  | "long_reference"
  | "prefix"
  | "labels_line"
  | "labels_token"
  | "nan"
  | "carried"
  | "checkpoint";

export class Refusal extends Error {
  constructor(
    readonly reason: Reason,
    readonly values: Record<string, string | number> = {},
  ) {
    super(reason);
  }
}
