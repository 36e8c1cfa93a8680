// The weights of attention, and the head for which a measure of them is largest.
import { floats, model, roots, trace } from "../data";
import { argmax, indices } from "../numbers";
import type { Change, Stack } from "../state";

export interface Weights {
  /** The canonical name of the attention. */
  name: string;
  heads: number;
  queries: number;
  keys: number;
  at: (head: number, query: number, key: number) => number;
}

/** The weights of an attention; null where there are none. */
export async function weightsOf(name: string): Promise<Weights | null> {
  const shape = trace.value!.shapes[`${name}.weights`];
  if (!shape) return null;
  const exact = await floats(`${name}.weights`);
  const drawn = exact ? null : await roots(`${name}.weights`);
  if (!exact && !drawn) return null;
  const [heads, queries, keys] = shape;
  const value = (at: number) => (exact ? exact[at] : (drawn![at] / 255) ** 2);
  return { name, heads, queries, keys, at: (head, query, key) => value((head * queries + query) * keys + key) };
}

/** Those of all layers of a stack. */
export async function allWeights(stack: Stack, kind: "self" | "cross"): Promise<Weights[]> {
  const layers = indices(model.value!.config[`${stack}_layers`]);
  const found = await Promise.all(layers.map((layer) => weightsOf(`${stack}.${layer}.${kind}`)));
  return found.filter((each) => each !== null);
}

interface Measured {
  of: Weights;
  head: number;
  value: number;
}

/** The head for which a measure is largest; null where there is no head. */
export function best(all: Weights[], measure: (of: Weights, head: number) => number): Measured | null {
  const each = all.flatMap((of) => indices(of.heads).map((head) => ({ of, head, value: measure(of, head) })));
  return each[argmax(each.length, (k) => each[k].value)] ?? null;
}

/** What is selected with an attention. */
export function selecting(name: string): Change {
  const [stack, layer, kind] = name.split(".");
  return { stack, layer, kind };
}
