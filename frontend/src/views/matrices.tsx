// All queries at once: the matrix products of one head, a row each.
import { useMemo } from "preact/hooks";
import {
  chosenAt,
  Chooser,
  Formulas,
  groupOf,
  hasPositions,
  heads,
  headWidth,
  inputs,
  isOff,
  isScaled,
  isThere,
  NoAttention,
  selected,
  useBias,
  useScores,
} from "../attention";
import { model, served, trace } from "../data";
import { Letters, Missing } from "../parts";
import { largest, viewport } from "../pictures/canvas";
import { coordinates, Heatmap } from "../pictures/heatmap";
import { common, Legend } from "../pictures/legend";
import { labels } from "../pictures/tokens";
import { inColumns, number, select } from "../state";
import { useFloats, useMatrix, useRoots } from "../use";
import { isolate, raised, say, show } from "../words";
import "./matrices.css";

/** What a side of a matrix counts: queries, keys, coordinates of a head, of the model's width, or of all heads. */
type Axis = "i" | "j" | "d" | "c" | "o" | "e";

/** A matrix as it is stored: rows by columns. */
interface Matrix {
  letter: string;
  /** The letter of its columns in the lecture's notation, a vector for each token. */
  vectors?: string;
  numbers: Float32Array | null | undefined;
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
function Product(props: {
  title: string;
  factors: [Matrix, Matrix];
  results: Matrix[];
  /** Terms of the chosen cell's sum, and what is done to it. */
  terms: number[] | null;
  after: string;
  value: number | null;
  group: number;
  names: Record<Axis, string[]>;
  chosen: Record<Axis, number>;
  sizes: Record<Axis, number>;
  onChoose: (at: Partial<Record<Axis, number>>) => void;
}) {
  const { names, chosen, sizes, terms, value } = props;
  const first = props.results[0];
  const plate = (of: Matrix, lit: "row" | "column" | "cell") => {
    const [down, across] = of.axes;
    const shape = (of.turned ? [across, down] : [down, across]).map((axis) => names[axis].length).join(" × ");
    const vectors = of.vectors && of.turned ? ` = [${of.vectors}¹ ⋯ ${of.vectors}${raised(names[down].length)}]` : "";
    const title = `${of.letter}${vectors} · ${shape}`;
    if (!of.numbers && !of.roots)
      return (
        <Missing key={of.letter}>
          {of.letter}: {of.numbers === null ? say(of.learned && !served ? "needs_model" : "left_out") : "…"}
        </Missing>
      );
    return (
      <div key={of.letter} class={of.learned ? "learned" : ""}>
        <Heatmap
          title={title}
          rows={names[down]}
          columns={names[across]}
          numbers={of.numbers}
          roots={of.roots}
          signed={!of.shares}
          group={props.group}
          turned={of.turned}
          plate={{ row: sizes[down], column: sizes[across], lit }}
          chosen={[chosen[down], chosen[across]]}
          onChoose={(row, column) => props.onChoose({ [down]: row, [across]: column })}
        />
      </div>
    );
  };
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

const PARTS = { q: "query", k: "key", v: "value", o: "output" };

export function Matrices() {
  const { stack, layer, name, cross, asks, answers, head, i, j } = selected();
  const lecture = inColumns();
  const [rows, columns, d, whole] = [asks.ids.length, answers.ids.length, headWidth(), model.value!.config.width];
  const all = d * heads();
  const rotated = hasPositions("rotary", cross);
  const part = (of: keyof typeof PARTS, what: string) =>
    `parameters.${stack}.blocks.${layer}.${cross ? "cross" : "mixer"}.${PARTS[of]}.${what}`;
  const shapes = trace.value!.shapes;
  const asked = (key: string) => (key in shapes || !served ? key : null);
  const weight = (of: keyof typeof PARTS) => (served ? part(of, "weight") : null);
  const learned = {
    q: useFloats(weight("q")),
    k: useFloats(weight("k")),
    v: useFloats(weight("v")),
    o: useFloats(weight("o")),
  };
  const offset = (of: keyof typeof PARTS) => (part(of, "bias") in shapes ? part(of, "bias") : null);
  const biases = {
    q: useFloats(offset("q")),
    k: useFloats(offset("k")),
    v: useFloats(offset("v")),
    o: useFloats(offset("o")),
  };
  const [own, given] = inputs();
  const [I, others] = [useFloats(own), useFloats(given)];
  const group = groupOf(head);
  const plainQ = useMatrix(useFloats(`${name}.queries`), head, rows * d);
  const plainK = useMatrix(useFloats(`${name}.keys`), group, columns * d);
  const turnedQ = useMatrix(useFloats(rotated ? asked(`${name}.rotated_queries`) : null), head, rows * d);
  const turnedK = useMatrix(useFloats(rotated ? asked(`${name}.rotated_keys`) : null), group, columns * d);
  const [Q, K] = rotated ? [turnedQ, turnedK] : [plainQ, plainK];
  const V = useMatrix(useFloats(`${name}.values`), group, columns * d);
  const A = useScores(name, head, rows, columns);
  const bias = useBias(name, head, rows, columns);
  const weights = useMatrix(useFloats(`${name}.weights`), head, rows * columns);
  const roots = useMatrix(useRoots(`${name}.weights`), head, rows * columns);
  const context = useFloats(`${name}.context`);
  const O = useMatrix(context, head, rows * d);
  const output = useFloats(`${name}.output`);
  /** The heads one beside the other: a row for each query. */
  const together = useMemo(
    () =>
      context &&
      Float32Array.from({ length: rows * all }, (_, k) => {
        const [query, at] = [Math.floor(k / all), k % all];
        return context[(Math.floor(at / d) * rows + query) * d + (at % d)];
      }),
    [context, rows, all, d],
  );
  const names = useMemo(
    () => ({
      i: labels(asks),
      j: labels(answers),
      d: coordinates(d),
      c: coordinates(whole),
      o: coordinates(all),
      e: coordinates(whole),
    }),
    [asks, answers, d, whole, all, lecture],
  );
  if (!isThere(name)) return <NoAttention />;

  const slice = (of: "q" | "k" | "v") => {
    const at = of === "q" ? head : group;
    if (!served) return null;
    return learned[of] && learned[of].subarray(at * d * whole, (at + 1) * d * whole);
  };
  const letters = lecture
    ? { I: "I", given: cross ? "Ī" : "I", A: "A", shares: "A′", all: "O¹ ⋯ Oʰ", output: "B" }
    : { I: "X", given: cross ? "Y" : "X", A: "S", shares: "P", all: "concat(O)", output: "output" };
  const W = (letter: string) => (lecture ? `W^${letter}` : `W_${letter}ᵀ`);
  const chosen = {
    i,
    j,
    d: number("d", d),
    c: number("c", whole),
    o: head * d + number("d", d),
    e: number("c", whole),
  };
  const narrow = viewport.value.width < 760;
  const width = viewport.value.width - (narrow ? 60 : 380);
  const [many, high] = [Math.max(rows, columns), 0.5 * viewport.value.height];
  const cells = (count: number, room: number, least: number, most: number) =>
    Math.max(least, Math.min(most, Math.floor(room / count)));
  const token = cells(3 * many + 12, width * 0.86, 4, 22);
  const wide = cells(whole, Math.min(high, width * 0.45), 2, 8);
  const sizes = { i: token, j: token, d: cells(d, high * 0.45, 3, 12), c: wide, o: wide, e: wide };
  const onChoose = ({ o, e, ...at }: Partial<Record<Axis, number>>) => {
    const position = at.i === undefined ? {} : chosenAt(stack, at.i);
    const here = o === undefined ? {} : { head: Math.floor(o / d), d: o % d };
    select({ ...at, ...position, ...here, ...(e === undefined ? {} : { c: e }) });
  };
  const shared = { names, chosen, sizes, onChoose };
  const dot = (
    a: Float32Array | null | undefined,
    from: number,
    b: Float32Array | null | undefined,
    to: number,
    n: number,
  ) => (a && b ? Array.from({ length: n }, (_, k) => a[from + k] * b[to + k]) : null);
  const at = (values: Float32Array | null | undefined, k: number) => values?.[k] ?? null;
  /** left × right in the lecture's notation; in PyTorch's all is transposed, and the factors change places. */
  const factors = (left: Matrix, right: Matrix): [Matrix, Matrix] => (lecture ? [left, right] : [right, left]);
  const projected = (of: "q" | "k" | "v", result: Float32Array | null | undefined) => {
    const query = of === "q";
    const [input, axis, place] = query ? ([I, "i", i] as const) : ([others, "j", j] as const);
    const letter = of.toUpperCase();
    const source = query ? letters.I : letters.given;
    return (
      <Product
        {...shared}
        key={of}
        title={lecture ? `${letter} = ${W(of)} ${source}` : `${letter} = ${source} ${W(of)}`}
        group={largest(plainQ, plainK, V)}
        factors={factors(
          { letter: W(of), numbers: slice(of), axes: ["d", "c"], learned: true, turned: !lecture },
          { letter: source, vectors: source === "Ī" ? "ā" : "a", numbers: input, axes: [axis, "c"], turned: lecture },
        )}
        results={[{ letter, vectors: of, numbers: result, axes: [axis, "d"], turned: lecture }]}
        terms={dot(slice(of), chosen.d * whole, input, place * whole, whole)}
        after={biases[of] ? `+ bias ${show(biases[of][(query ? head : group) * d + chosen.d])}` : ""}
        value={at(result, place * d + chosen.d)}
      />
    );
  };
  const R = rotated ? "R·" : "";
  const keys = rotated ? "(R·K)ᵀ" : "Kᵀ";
  const scored = [isScaled() ? `÷ √${d}` : "", bias ? `+ (${show(bias[i * columns + j])})` : ""].join(" ").trim();
  const shape = (key: string) => {
    const sides = [...shapes[key]],
      last = sides.splice(-2);
    return [...sides, ...(lecture && !key.startsWith("parameters") ? last.reverse() : last)].join(" × ");
  };
  const listed: [string, string][] = [
    [letters.I, own],
    ...(cross ? [[letters.given, given] as [string, string]] : []),
    ...(["q", "k", "v", "o"] as const).map((of): [string, string] => [lecture ? W(of) : `W_${of}`, part(of, "weight")]),
    [`${R}Q`, `${name}.${cross ? "" : "rotated_"}queries`],
    [`${R}K`, `${name}.${cross ? "" : "rotated_"}keys`],
    ["V", `${name}.values`],
    [letters.A, `${name}.scores`],
    [letters.shares, `${name}.weights`],
    ["O", `${name}.context`],
  ];
  return (
    <>
      <Chooser />
      <Formulas cross={cross} />
      {isOff(name, head) && <Missing>{say("head_off_here")}</Missing>}
      <p>{say("products_hover")}</p>
      <Legend most={common.value ? largest(plainQ, plainK, V) : undefined} grouped />
      <div class={isOff(name, head) ? "off" : ""}>
        {projected("q", plainQ)}
        {projected("k", plainK)}
        {projected("v", V)}
        <Product
          {...shared}
          title={`${letters.A} = ${lecture ? `${keys} ${R}Q` : `${R}Q ${keys}`} ${scored}`}
          group={largest(plainQ, plainK, V)}
          factors={factors(
            { letter: keys, numbers: K, axes: ["j", "d"], turned: !lecture },
            { letter: `${R}Q`, numbers: Q, axes: ["i", "d"], turned: lecture },
          )}
          results={[
            { letter: letters.A, numbers: A, axes: ["i", "j"], turned: lecture },
            { letter: letters.shares, numbers: weights, roots, axes: ["i", "j"], shares: true, turned: lecture },
          ]}
          terms={at(A, i * columns + j) === -Infinity ? null : dot(K, j * d, Q, i * d, d)}
          after={scored}
          value={at(A, i * columns + j)}
        />
        <Product
          {...shared}
          title={lecture ? `O = V ${letters.shares}` : `O = ${letters.shares} V`}
          group={largest(V, O)}
          factors={factors(
            { letter: "V", vectors: "v", numbers: V, axes: ["j", "d"], turned: lecture },
            { letter: letters.shares, numbers: weights, roots, axes: ["i", "j"], shares: true, turned: lecture },
          )}
          results={[{ letter: "O", vectors: "b", numbers: O, axes: ["i", "d"], turned: lecture }]}
          terms={
            weights && V
              ? Array.from({ length: columns }, (_, k) => weights[i * columns + k] * V[k * d + chosen.d])
              : null
          }
          after=""
          value={at(O, i * d + chosen.d)}
        />
        <Product
          {...shared}
          title={
            lecture ? `${letters.output} = ${W("o")} [${letters.all}]` : `${letters.output} = ${letters.all} ${W("o")}`
          }
          group={largest(output)}
          factors={factors(
            { letter: W("o"), numbers: served ? learned.o : null, axes: ["e", "o"], learned: true, turned: !lecture },
            { letter: letters.all, numbers: together, axes: ["i", "o"], turned: lecture },
          )}
          results={[{ letter: letters.output, numbers: output, axes: ["i", "e"], turned: lecture }]}
          terms={dot(learned.o, chosen.e * all, together, i * all, all)}
          after={biases.o ? `+ bias ${show(biases.o[chosen.e])}` : ""}
          value={at(output, i * whole + chosen.e)}
        />
      </div>
      <details>
        <summary>{say("shapes")}</summary>
        <div class="scroll" tabIndex={0} role="region" aria-label={say("shapes")}>
          <table class="shapes">
            <tbody>
              {listed
                .filter(([, key]) => key in shapes)
                .map(([letter, key]) => (
                  <tr key={key} class={key.startsWith("parameters") ? "learned" : ""}>
                    <th scope="row">
                      <Letters of={letter} />
                    </th>
                    <td>{shape(key)}</td>
                    <td>{say(key.startsWith("parameters") ? "learned" : "computed")}</td>
                    <td>
                      <code>{key}</code>
                    </td>
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
        {lecture && <p class="explain">{say("transposed")}</p>}
      </details>
    </>
  );
}
