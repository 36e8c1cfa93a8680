// The matrices of one head, and the parameters that they are made with.
import { useMemo } from "preact/hooks";
import { groupOf, hasPositions, heads, headWidth, inputs, selected, useBias, useScores } from "../../attention";
import { model, served, trace } from "../../data";
import { place } from "../../state";
import { type MaybeFloats, useFloats, useMatrix, useRoots } from "../../use";

export type Projected = "q" | "k" | "v";
type Parameter = Projected | "o";

const PARAMETERS = { q: "query", k: "key", v: "value", o: "output" };

/** The canonical name of a parameter of the attention that is selected. */
export function parameter(of: Parameter, what: "weight" | "bias"): string {
  const { stack, layer, kind } = place();
  return `parameters.${stack}.blocks.${layer}.${kind === "cross" ? "cross" : "mixer"}.${PARAMETERS[of]}.${what}`;
}

/** The weights that are learned, which a file without its model has not, and their bias where there is one. */
function useParameter(of: Parameter): { weight: MaybeFloats; bias: MaybeFloats } {
  const bias = parameter(of, "bias");
  return {
    weight: useFloats(served ? parameter(of, "weight") : null),
    bias: useFloats(bias in trace.value!.shapes ? bias : null),
  };
}

/** Each has a row for each token; `turned`: as rotary positions turn it, where the model has them. */
export function useTensors() {
  const { name, cross, asks, answers, head } = selected();
  const [rows, columns, d] = [asks.ids.length, answers.ids.length, headWidth()];
  const group = groupOf(head);
  const [own, given] = inputs();
  const rotated = hasPositions("rotary", cross);
  const turned = (what: string) => {
    const key = `${name}.rotated_${what}`;
    return rotated && (key in trace.value!.shapes || !served) ? key : null;
  };
  const plain = {
    Q: useMatrix(useFloats(`${name}.queries`), head, rows * d),
    K: useMatrix(useFloats(`${name}.keys`), group, columns * d),
  };
  const rotary = {
    Q: useMatrix(useFloats(turned("queries")), head, rows * d),
    K: useMatrix(useFloats(turned("keys")), group, columns * d),
  };
  const context = useFloats(`${name}.context`);
  return {
    size: { rows, columns, d, width: model.value!.config.width, all: d * heads() },
    place: { q: head, k: group, v: group },
    parameters: { q: useParameter("q"), k: useParameter("k"), v: useParameter("v"), o: useParameter("o") },
    own: useFloats(own),
    given: useFloats(given),
    ...plain,
    rotated,
    turned: rotated ? rotary : plain,
    V: useMatrix(useFloats(`${name}.values`), group, columns * d),
    scores: useScores(name, head, rows, columns),
    bias: useBias(name, head, rows, columns),
    weights: useMatrix(useFloats(`${name}.weights`), head, rows * columns),
    roots: useMatrix(useRoots(`${name}.weights`), head, rows * columns),
    O: useMatrix(context, head, rows * d),
    concatenated: useConcatenated(context, rows, d),
    output: useFloats(`${name}.output`),
  };
}

export type Tensors = ReturnType<typeof useTensors>;

/** The heads one beside the other. */
function useConcatenated(context: MaybeFloats, rows: number, d: number): MaybeFloats {
  const all = d * heads();
  return useMemo(
    () =>
      context &&
      Float32Array.from({ length: rows * all }, (_, k) => {
        const [query, at] = [Math.floor(k / all), k % all];
        return context[(Math.floor(at / d) * rows + query) * d + (at % d)];
      }),
    [context, rows, all, d],
  );
}
