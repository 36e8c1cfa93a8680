// All queries at once: the matrices of one head, and those that are learned.
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import {
  Chooser,
  Formulas,
  groupOf,
  heads,
  headWidth,
  inputs,
  isThere,
  NoAttention,
  selected,
  useScores,
} from "../attention";
import { model, served, trace } from "../data";
import { Absent } from "../parts";
import { count, Heatmap } from "../pictures/heatmap";
import { labels } from "../pictures/tokens";
import { inColumns, number, select } from "../state";
import { useFloats, useMatrix, useRoots } from "../use";
import { say } from "../words";

/** A row of numbers for each token: of coordinates `d` of a head, or `c` of the model's width. */
function Vectors(props: {
  name: string;
  title: string;
  tokens: string[];
  begin: number;
  matrix?: number;
  width: number;
  at: number;
  axis: "i" | "j";
  along: "c" | "d";
}) {
  const values = useMatrix(useFloats(props.name), props.matrix ?? 0, props.tokens.length * props.width);
  const columns = useMemo(() => count(props.width), [props.width]);
  if (!values) return <Absent of={values} title={props.title} />;
  return (
    <Heatmap
      title={props.title}
      rows={props.tokens}
      columns={columns}
      numbers={values}
      signed
      turned={inColumns()}
      begin={[props.begin, 0]}
      chosen={[props.at, number(props.along, props.width)]}
      onChoose={(row, at) => select({ [props.axis]: row, [props.along]: at })}
    />
  );
}

/** A learned matrix. The rows of W_q, W_k, W_v and the columns of W_o are coordinates of heads, the others of the model's width. */
function Learned(props: { name: string; title: string; head: number }) {
  const [rows, columns] = trace.value!.shapes[props.name];
  const values = useFloats(props.name);
  const [above, beside] = useMemo(() => [count(columns), count(rows)], [rows, columns]);
  if (!values) return <Absent of={values} title={props.title} />;
  const gathers = props.name.endsWith("output.weight");
  const width = headWidth();
  const sharing = (heads() * width) / (gathers ? columns : rows);
  const group = Math.floor(props.head / sharing);
  const turn = ([a, b]: [number, number]): [number, number] => (gathers ? [b, a] : [a, b]);
  const choose = (row: number, column: number) => {
    const [inner, c] = turn([row, column]);
    const at = Math.floor(inner / width);
    select({ head: at === group ? props.head : at * sharing, d: inner % width, c });
  };
  return (
    <Heatmap
      title={props.title}
      rows={beside}
      columns={above}
      numbers={values}
      signed
      square
      chosen={turn([group * width + number("d", width), number("c", model.value!.config.width)])}
      onChoose={choose}
    />
  );
}

const PARTS = { q: "query", k: "key", v: "value", o: "output" };

export function Matrices() {
  const { stack, layer, name, cross, asks, answers, begins, head, i, j } = selected();
  const opened = useSignal<keyof typeof PARTS | null>(null);
  const [rows, columns] = [asks.ids.length, answers.ids.length];
  const weights = useMatrix(useFloats(`${name}.weights`), head, rows * columns);
  const roots = useMatrix(useRoots(`${name}.weights`), head, rows * columns);
  const alpha = useScores(name, head, rows, columns);
  if (!isThere(name)) return <NoAttention />;
  const lecture = inColumns();
  const [I, others, Q, K, V, A, shares, O] = lecture
    ? ["I", "Ī", "Q", "K", "V", "A", "A′", "O"]
    : ["X", "Y", "Q", "K", "V", "S", "P", "O"];
  const choose = (row: number, column: number) => select({ i: row, j: column });
  const [own, given] = inputs();
  const [asking, answering] = [labels(asks), labels(answers)];
  const rotated = cross ? "" : "rotated_";
  const shapes = trace.value!.shapes;
  const shape = (key: string) => {
    const sides = [...shapes[key]],
      last = sides.splice(-2);
    return [...sides, ...(lecture ? last.reverse() : last)].join(" × ");
  };
  const computed = (letter: string, key: string) => (
    <tr key={key}>
      <th scope="row">{letter}</th>
      <td>{shape(key)}</td>
      <td>{say("computed")}</td>
      <td>
        <code>{key}</code>
      </td>
    </tr>
  );
  const key = (part: string) => `parameters.${stack}.blocks.${layer}.${cross ? "cross" : "mixer"}.${part}.weight`;
  const W = (letter: string) => (lecture ? `W^${letter}` : `W_${letter}`);
  const learned = (letter: keyof typeof PARTS) => (
    <tr key={letter} class="learned">
      <th scope="row">W{lecture ? <sup>{letter}</sup> : <sub>{letter}</sub>}</th>
      <td>{shapes[key(PARTS[letter])].join(" × ")}</td>
      <td>{say("learned")}</td>
      <td>
        <button
          type="button"
          class="link"
          disabled={!served}
          aria-expanded={opened.value === letter}
          aria-label={`${W(letter)}: ${say("as_picture")}`}
          onClick={() => {
            opened.value = opened.value === letter ? null : letter;
          }}
        >
          {say("as_picture")}
        </button>
      </td>
    </tr>
  );
  const of_head = `${say("head")} ${head}`;
  const { width } = model.value!.config;
  return (
    <>
      <Chooser />
      <Formulas cross={cross} />
      <div class="scroll" tabIndex={0} role="region" aria-label={say("shapes")}>
        <table class="shapes">
          <caption>{say("shapes")}</caption>
          <tbody>
            {computed(I, own)}
            {cross && computed(others, given)}
            {learned("q")}
            {learned("k")}
            {learned("v")}
            {computed(Q, `${name}.${rotated}queries`)}
            {computed(K, `${name}.${rotated}keys`)}
            {computed(V, `${name}.values`)}
            {computed(A, `${name}.scores`)}
            {computed(shares, `${name}.weights`)}
            {computed(O, `${name}.context`)}
            {learned("o")}
          </tbody>
        </table>
      </div>
      {lecture && <p class="explain">{say("transposed")}</p>}
      {!served && (
        <em>
          {say("as_picture")}: {say("failed_needs_server")}
        </em>
      )}
      {opened.value && (
        <Learned name={key(PARTS[opened.value])} title={`${W(opened.value)} · ${say("learned")}`} head={head} />
      )}
      <p>{say(lecture ? "columns_are_tokens" : "rows_are_tokens")}</p>
      <Vectors
        name={own}
        title={`${I} · ${own}`}
        tokens={asking}
        begin={begins[0]}
        width={width}
        at={i}
        axis="i"
        along="c"
      />
      {cross && (
        <Vectors
          name={given}
          title={`${others} · ${given}`}
          tokens={answering}
          begin={begins[1]}
          width={width}
          at={j}
          axis="j"
          along="c"
        />
      )}
      <div class="pair">
        <Vectors
          name={`${name}.${rotated}queries`}
          title={`${Q} · ${of_head}`}
          tokens={asking}
          begin={begins[0]}
          matrix={head}
          width={headWidth()}
          at={i}
          axis="i"
          along="d"
        />
        <Vectors
          name={`${name}.${rotated}keys`}
          title={`${K} · ${of_head}`}
          tokens={answering}
          begin={begins[1]}
          matrix={groupOf(head)}
          width={headWidth()}
          at={j}
          axis="j"
          along="d"
        />
        <Vectors
          name={`${name}.values`}
          title={`${V} · ${of_head}`}
          tokens={answering}
          begin={begins[1]}
          matrix={groupOf(head)}
          width={headWidth()}
          at={j}
          axis="j"
          along="d"
        />
      </div>
      <div class="pair">
        {alpha ? (
          <Heatmap
            title={`${A} · ${say("scores")}`}
            rows={asking}
            columns={answering}
            numbers={alpha}
            signed
            turned={lecture}
            begin={begins}
            chosen={[i, j]}
            onChoose={choose}
          />
        ) : (
          <Absent of={alpha} title={A} />
        )}
        {(weights || roots) && (
          <Heatmap
            title={`${shares} · ${say("weights")}`}
            rows={asking}
            columns={answering}
            numbers={weights}
            roots={roots}
            turned={lecture}
            begin={begins}
            chosen={[i, j]}
            onChoose={choose}
          />
        )}
      </div>
      <Vectors
        name={`${name}.context`}
        title={`${O} · ${of_head}`}
        tokens={asking}
        begin={begins[0]}
        matrix={head}
        width={headWidth()}
        at={i}
        axis="i"
        along="d"
      />
    </>
  );
}
