// The letters of matrices: in the lecture's notation, where vectors are columns, and in PyTorch's, where all is transposed.
import { selected } from "../../attention";
import { inColumns } from "../../state";
import type { Projected, Tensors } from "./tensors";

export interface Letters {
  own: string;
  given: string;
  scores: string;
  weights: string;
  concatenated: string;
  output: string;
}

export function letters(): Letters {
  const { cross } = selected();
  return inColumns()
    ? { own: "I", given: cross ? "Ī" : "I", scores: "A", weights: "A′", concatenated: "O¹ ⋯ Oʰ", output: "B" }
    : { own: "X", given: cross ? "Y" : "X", scores: "S", weights: "P", concatenated: "concat(O)", output: "output" };
}

/** Learned weights, as they are multiplied with. */
export const learned = (of: Projected | "o") => (inColumns() ? `W^${of}` : `W_${of}ᵀ`);

/** Queries and keys as scores are made of them. */
export const multiplied = ({ rotated }: Tensors) =>
  rotated ? { queries: "R·Q", keys: "(R·K)ᵀ" } : { queries: "Q", keys: "Kᵀ" };

/** left × right in the lecture's notation; in PyTorch's the factors change places. */
export const factors = <T>(left: T, right: T): [T, T] => (inColumns() ? [left, right] : [right, left]);
