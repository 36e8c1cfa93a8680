// The products of one head, from its inputs to what it adds to the residual stream.
import { isScaled } from "../../attention";
import { served } from "../../data";
import { largest } from "../../pictures/canvas";
import { inColumns } from "../../state";
import type { MaybeFloats } from "../../use";
import { show } from "../../words";
import type { Axes } from "./axes";
import { factors, learned, letters, multiplied } from "./notation";
import { type Matrix, Product } from "./product";
import type { Projected, Tensors } from "./tensors";

interface ProductProps {
  of: Tensors;
  axes: Axes;
}

/** The terms of the product of `n` numbers from these places on; null where one side is not there. */
const dot = (a: MaybeFloats, from: number, b: MaybeFloats, to: number, n: number) =>
  a && b ? Array.from({ length: n }, (_, k) => a[from + k] * b[to + k]) : null;

const at = (values: MaybeFloats, place: number) => values?.[place] ?? null;

const plus = (bias: MaybeFloats, place: number) => (bias ? `+ bias ${show(bias[place])}` : "");

/** The largest number of what is compared in the first products. */
export const largestProjected = ({ Q, K, V }: Tensors) => largest(Q, K, V);

/** Queries, keys or values: the inputs times learned weights. */
export function Projection({ of, axes, what }: ProductProps & { what: Projected }) {
  const { d, width } = of.size;
  const lecture = inColumns();
  const { weight, bias } = of.parameters[what];
  const from = of.place[what] * d;
  const own = weight && weight.subarray(from * width, (from + d) * width);
  const [input, source, axis] =
    what === "q" ? ([of.own, letters().own, "i"] as const) : ([of.given, letters().given, "j"] as const);
  const result = { q: of.Q, k: of.K, v: of.V }[what];
  const letter = what.toUpperCase();
  const [token, coordinate] = [axes.chosen[axis], axes.chosen.d];
  return (
    <Product
      axes={axes}
      title={lecture ? `${letter} = ${learned(what)} ${source}` : `${letter} = ${source} ${learned(what)}`}
      group={largestProjected(of)}
      factors={factors<Matrix>(
        { letter: learned(what), numbers: served ? own : null, axes: ["d", "c"], learned: true, turned: !lecture },
        { letter: source, vectors: source === "Ī" ? "ā" : "a", numbers: input, axes: [axis, "c"], turned: lecture },
      )}
      results={[{ letter, vectors: what, numbers: result, axes: [axis, "d"], turned: lecture }]}
      terms={dot(own, coordinate * width, input, token * width, width)}
      after={plus(bias, from + coordinate)}
      value={at(result, token * d + coordinate)}
    />
  );
}

const weightsOf = ({ weights, roots }: Tensors): Matrix => ({
  letter: letters().weights,
  numbers: weights,
  roots,
  axes: ["i", "j"],
  shares: true,
  turned: inColumns(),
});

/** The scores of all queries and keys, and their softmax. */
export function Scores({ of, axes }: ProductProps) {
  const { columns, d } = of.size;
  const { i, j } = axes.chosen;
  const { scores, bias, turned } = of;
  const lecture = inColumns();
  const { queries, keys } = multiplied(of);
  const letter = letters().scores;
  const value = at(scores, i * columns + j);
  const after = [isScaled() ? `÷ √${d}` : "", bias ? `+ (${show(bias[i * columns + j])})` : ""].join(" ").trim();
  return (
    <Product
      axes={axes}
      title={`${letter} = ${factors(keys, queries).join(" ")} ${after}`}
      group={largestProjected(of)}
      factors={factors<Matrix>(
        { letter: keys, numbers: turned.K, axes: ["j", "d"], turned: !lecture },
        { letter: queries, numbers: turned.Q, axes: ["i", "d"], turned: lecture },
      )}
      results={[{ letter, numbers: scores, axes: ["i", "j"], turned: lecture }, weightsOf(of)]}
      terms={value === -Infinity ? null : dot(turned.K, j * d, turned.Q, i * d, d)}
      after={after}
      value={value}
    />
  );
}

/** The values, weighted and summed. */
export function WeightedSum({ of, axes }: ProductProps) {
  const { columns, d } = of.size;
  const { i, d: coordinate } = axes.chosen;
  const { weights, V, O } = of;
  const lecture = inColumns();
  return (
    <Product
      axes={axes}
      title={`O = ${factors("V", letters().weights).join(" ")}`}
      group={largest(V, O)}
      factors={factors<Matrix>(
        { letter: "V", vectors: "v", numbers: V, axes: ["j", "d"], turned: lecture },
        weightsOf(of),
      )}
      results={[{ letter: "O", vectors: "b", numbers: O, axes: ["i", "d"], turned: lecture }]}
      terms={
        weights && V
          ? Array.from({ length: columns }, (_, j) => weights[i * columns + j] * V[j * d + coordinate])
          : null
      }
      after=""
      value={at(O, i * d + coordinate)}
    />
  );
}

/** What all heads together give, times learned weights. */
export function Output({ of, axes }: ProductProps) {
  const { width, all } = of.size;
  const { i, e } = axes.chosen;
  const { concatenated, output } = of;
  const { weight, bias } = of.parameters.o;
  const lecture = inColumns();
  const { concatenated: heads, output: letter } = letters();
  return (
    <Product
      axes={axes}
      title={`${letter} = ${lecture ? `${learned("o")} [${heads}]` : `${heads} ${learned("o")}`}`}
      group={largest(output)}
      factors={factors<Matrix>(
        { letter: learned("o"), numbers: served ? weight : null, axes: ["e", "o"], learned: true, turned: !lecture },
        { letter: heads, numbers: concatenated, axes: ["i", "o"], turned: lecture },
      )}
      results={[{ letter, numbers: output, axes: ["i", "e"], turned: lecture }]}
      terms={dot(weight, e * all, concatenated, i * all, all)}
      after={plus(bias, e)}
      value={at(output, i * width + e)}
    />
  );
}
