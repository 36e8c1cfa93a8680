// A product of two matrices, with one cell of it written out.
import { served } from "../../data";
import { Letters, Missing } from "../../parts";
import { Heatmap } from "../../pictures/heatmap";
import type { MaybeFloats } from "../../use";
import { isolate, raised, say, show } from "../../words";
import type { Axes, Axis } from "./axes";

/** A matrix as it is stored: rows by columns. */
export interface Matrix {
  letter: string;
  /** The letter of its columns in the lecture's notation, a vector for each token. */
  vectors?: string;
  numbers: MaybeFloats;
  roots?: Uint8Array | null;
  axes: [Axis, Axis];
  shares?: boolean;
  learned?: boolean;
  /** Drawn with rows as columns. */
  turned: boolean;
}

/** How many terms of a sum are printed. */
const TERMS = 4;

/** left × right = result: the chosen cell of the result lights a row and a column, and its sum is written out. */
export function Product(props: {
  title: string;
  factors: [Matrix, Matrix];
  results: Matrix[];
  /** Terms of the chosen cell's sum, and what is done to it. */
  terms: number[] | null;
  after: string;
  value: number | null;
  group: number;
  axes: Axes;
}) {
  const { terms, value } = props;
  const { names, chosen } = props.axes;
  const first = props.results[0];
  const plate = (of: Matrix, lit: "row" | "column" | "cell") => (
    <Plate key={of.letter} of={of} lit={lit} axes={props.axes} group={props.group} />
  );
  const [a, b] = first.turned ? [...first.axes].reverse() : first.axes;
  return (
    <section class="product">
      <h3>
        <Letters of={props.title} />
      </h3>
      <div class="row">
        {plate(props.factors[0], "row")}
        <b>×</b>
        {plate(props.factors[1], "column")}
        <b>=</b>
        {props.results.map((each, k) => [k > 0 && <b key="to">→ softmax →</b>, plate(each, "cell")])}
      </div>
      {terms && value !== null && (
        <p class="numbers">
          {first.letter}[{isolate(names[a][chosen[a]])}, {isolate(names[b][chosen[b]])}] ={" "}
          {terms
            .slice(0, TERMS)
            .map((term) => (term < 0 ? `(${show(term)})` : show(term)))
            .join(" + ")}
          {terms.length > TERMS && ` + ⋯ (${terms.length})`} {props.after} = <b>{show(value, 4)}</b>
        </p>
      )}
    </section>
  );
}

/** A factor or a result. */
function Plate(props: { of: Matrix; lit: "row" | "column" | "cell"; axes: Axes; group: number }) {
  const { of, lit } = props;
  const { names, chosen, sizes, choose } = props.axes;
  const [down, across] = of.axes;
  if (!of.numbers && !of.roots)
    return (
      <Missing>
        {of.letter}: {of.numbers === null ? say(of.learned && !served ? "needs_model" : "left_out") : "…"}
      </Missing>
    );
  const shape = (of.turned ? [across, down] : [down, across]).map((axis) => names[axis].length).join(" × ");
  const vectors = of.vectors && of.turned ? ` = [${of.vectors}¹ ⋯ ${of.vectors}${raised(names[down].length)}]` : "";
  return (
    <div class={of.learned ? "learned" : ""}>
      <Heatmap
        title={`${of.letter}${vectors} · ${shape}`}
        rows={names[down]}
        columns={names[across]}
        numbers={of.numbers}
        roots={of.roots}
        signed={!of.shares}
        group={props.group}
        turned={of.turned}
        plate={{ row: sizes[down], column: sizes[across], lit }}
        chosen={[chosen[down], chosen[across]]}
        onChoose={(row, column) => choose({ [down]: row, [across]: column })}
      />
    </div>
  );
}
