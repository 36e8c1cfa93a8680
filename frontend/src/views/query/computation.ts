// What one query of one head computes: its vectors, its scores and weights, and their names.
import { biasedBy, groupOf, headWidth, inputs, isScaled, selected, useBias, useScores } from "../../attention";
import { model, trace } from "../../data";
import { largest } from "../../pictures/canvas";
import { labels } from "../../pictures/tokens";
import { inColumns } from "../../state";
import { type MaybeFloats, useFloats, useRoots } from "../../use";

/** The steps in their order: `say` has a sentence for each. */
export const STEPS = ["inputs", "products", "dots", "scaled", "exp", "shares", "sum"] as const;
export type Step = (typeof STEPS)[number];

export interface Letters {
  input: string;
  query: string;
  key: string;
  value: string;
  score: string;
  weight: string;
  result: string;
}

export interface Computation {
  letters: Letters;
  /** Names the trace and the attention, for what is kept of the pictures. */
  id: string;
  cross: boolean;
  /** The chosen query and key, the token that asks, and those that answer. */
  i: number;
  j: number;
  asking: string;
  names: string[];
  input: MaybeFloats;
  q: MaybeFloats;
  k: MaybeFloats[];
  v: MaybeFloats[];
  /** The largest numbers of all keys, and of all values. */
  largest: { k: number; v: number };
  /** q·k of each key. */
  dots: number[] | null;
  /** Those scaled, with a bias where positions have one; −∞ where a key is hidden. */
  scores: MaybeFloats;
  /** e^(score − the largest): softmax is the same without the largest, and no number grows too large. */
  exps: number[] | null;
  weights: MaybeFloats;
  /** The weights as they are drawn, where there are no numbers of them too. */
  shares: number[];
  result: MaybeFloats;
  /** What comes between q·k and the softmax, as a formula. */
  scaling: string;
  /** The letters of tensors that were left out. */
  missing: string[];
}

export function useComputation(): Computation {
  const { name, cross, asks, answers, head, i, j } = selected();
  const [rows, n, width] = [asks.ids.length, answers.ids.length, headWidth()];
  const rotated = cross ? "" : "rotated_";
  const inputsOfQueries = useFloats(inputs()[0]);
  const queries = useFloats(`${name}.${rotated}queries`);
  const keys = useFloats(`${name}.${rotated}keys`);
  const values = useFloats(`${name}.values`);
  const scores = useScores(name, head, rows, n);
  const bias = useBias(name, head, rows, n);
  const weights = useFloats(`${name}.weights`);
  const roots = useRoots(weights === null ? `${name}.weights` : null);
  const context = useFloats(`${name}.context`);

  const row = (all: MaybeFloats, at: number, wide: number) => all && all.subarray(at * wide, (at + 1) * wide);
  const query = head * rows + i;
  const names = labels(answers);
  const ofKeys = (all: MaybeFloats) => names.map((_, at) => row(all, groupOf(head) * n + at, width));
  const chosen = row(scores, i, n);
  const shares = row(weights, query, n);
  const drawn = (at: number) => (shares ? shares[at] : roots ? (roots[query * n + at] / 255) ** 2 : 0);
  const [k, v] = [ofKeys(keys), ofKeys(values)];
  const highest = chosen ? Math.max(...chosen) : 0;
  const unscaled = isScaled() ? Math.sqrt(width) : 1;
  const letters: Letters = inColumns()
    ? { input: "a", query: "q", key: "k", value: "v", score: "α", weight: "α′", result: "b" }
    : { input: "x", query: "q", key: "k", value: "v", score: "s", weight: "p", result: "o" };
  const tensors = [inputsOfQueries, queries, keys, values, scores, weights, context];
  return {
    letters,
    id: `${trace.value!.id} ${trace.value!.text} ${name}`,
    cross,
    i,
    j,
    asking: labels(asks)[i],
    names,
    input: row(inputsOfQueries, i, model.value!.config.width),
    q: row(queries, query, width),
    k,
    v,
    largest: { k: largest(...k), v: largest(...v) },
    dots: chosen ? Array.from(chosen, (score, at) => (score - (bias ? bias[i * n + at] : 0)) * unscaled) : null,
    scores: chosen,
    exps: chosen ? Array.from(chosen, (score) => Math.exp(score - highest)) : null,
    weights: shares,
    shares: names.map((_, at) => drawn(at)),
    result: row(context, query, width),
    scaling:
      [isScaled() ? "÷ √d" : "", { alibi: "− m |i − j|", relative: "+ r", none: "" }[biasedBy(cross) ?? "none"]]
        .join(" ")
        .trim() || letters.score,
    missing: Object.values(letters).filter((_, at) => tensors[at] === null),
  };
}

/** The words of a step. */
export const wordOf = (step: Step) =>
  step === "scaled" && !isScaled() ? ("step_unscaled" as const) : (`step_${step}` as const);

/** Whether a mask hides a key from the query. */
export const isHidden = ({ scores }: Computation, at: number) => scores?.[at] === -Infinity;
