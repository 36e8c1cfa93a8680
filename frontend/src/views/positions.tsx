// How the model knows where a token stands.
import { useMemo } from "preact/hooks";
import { headWidth, useBias } from "../attention";
import { begin, model, positionsOf, tokensOf, trace } from "../data";
import { Absent, Ask, Choice, Formula, headName, Missing, Slider, upTo } from "../parts";
import { Heatmap } from "../pictures/heatmap";
import { Strip } from "../pictures/strip";
import { labels } from "../pictures/tokens";
import { inColumns, number, select, stacks } from "../state";
import { useFloats } from "../use";
import { isolate, say } from "../words";

/** Rotary positions: the angles of each pair of coordinates, and a query of the first head before and after. */
function Rotary(props: { names: string[]; i: number }) {
  const { names, i } = props;
  const attention = `${stacks()[0]}.0.self`;
  const asking = `${attention}.queries`;
  const queries = useFloats(asking);
  const rotated = useFloats(`${attention}.rotated_queries`);
  const width = headWidth();
  const off = trace.value!.what_if.positions_off;
  const angle = (position: number, pair: number) => (off ? 0 : position / 10000 ** ((2 * pair) / width));
  const pairs = useMemo(() => Array.from({ length: width / 2 }, (_, pair) => String(pair)), [width]);
  const cosines = useMemo(
    () => names.flatMap((_, position) => pairs.map((_, pair) => Math.cos(angle(position, pair)))),
    [names, pairs, off],
  );
  const strip = (values: Float32Array, title: string) => (
    <p class="vector">
      <b>{title}</b> <Strip values={values.subarray(i * width, (i + 1) * width)} title={title} />
    </p>
  );
  return (
    <>
      {!off && (
        <>
          <p>{say("rotary")}</p>
          <Formula name="angle" />
          <p>{say("angle_letters")}</p>
        </>
      )}
      <svg class="turns" viewBox="0 0 640 90" role="img" aria-label={say("dials", { token: names[i] })}>
        {pairs.slice(0, 8).map((pair, d) => (
          <g key={pair} transform={`translate(${40 + d * 78},42)`}>
            <circle r="30" />
            <line x2={30 * Math.cos(angle(i, d))} y2={-30 * Math.sin(angle(i, d))} />
            <text y="46" text-anchor="middle">
              {pair}
            </text>
          </g>
        ))}
      </svg>
      <Heatmap
        title={say("cosines")}
        rows={names}
        columns={pairs}
        numbers={cosines}
        signed
        turned={inColumns()}
        begin={[begin(), 0]}
        chosen={[i, number("d", pairs.length)]}
        onChoose={(row, d) => select({ i: row, d })}
      />
      {queries && rotated ? (
        <>
          <p>{say("query_turned", { head: headName(attention, 0), token: names[i] })}</p>
          {strip(queries, "q")}
          {strip(rotated, "R q")}
        </>
      ) : asking in trace.value!.shapes ? (
        <Absent of={queries && (rotated as null | undefined)} title="q, R q" />
      ) : (
        <Missing>{say("no_attention")}</Missing>
      )}
    </>
  );
}

/** Positions that are added to the embeddings a: sinusoidal ones and learned ones. */
function Added(props: { names: string[]; i: number }) {
  const { names, i } = props;
  const { width } = model.value!.config;
  const before = useFloats(`${stacks()[0]}.embedding`);
  const after = useFloats(`${stacks()[0]}.input`);
  const encoding = useMemo(() => before && after && after.map((value, k) => value - before[k]), [before, after]);
  const columns = useMemo(() => Array.from({ length: width }, (_, c) => String(c)), [width]);
  if (!before || !after || !encoding) return <Absent of={before && (after as null | undefined)} title="a, e" />;
  return (
    <>
      <Formula name="added" />
      <p>{say("added_letters")}</p>
      <Heatmap
        title={say("encoding")}
        rows={names}
        columns={columns}
        numbers={encoding}
        signed
        turned={inColumns()}
        begin={[begin(), 0]}
        chosen={[i, number("c", width)]}
        onChoose={(row, c) => select({ i: row, c })}
      />
      {Object.entries({ a: before, e: encoding, "a + e": after }).map(([title, values]) => (
        <p class="vector" key={title}>
          <b>{title}</b> <Strip values={values.subarray(i * width, (i + 1) * width)} title={title} />
        </p>
      ))}
    </>
  );
}

/** Positions that are a bias on the scores of self-attention: those of one head of the first block. */
function Biased(props: { names: string[]; i: number }) {
  const { names, i } = props;
  const { heads } = model.value!.config;
  const head = number("head", heads);
  const attention = `${stacks()[0]}.0.self`;
  const bias = useBias(attention, head, names.length, names.length);
  if (trace.value!.what_if.positions_off) return null;
  return (
    <>
      <Formula name="bias" />
      <p>{say("alibi")}</p>
      <Choice title={say("head")} value={head} of={upTo(heads)} onChoose={(chosen) => select({ head: chosen })} />
      {bias ? (
        <Heatmap
          title={say("bias")}
          rows={names}
          columns={names}
          numbers={bias}
          signed
          turned={inColumns()}
          begin={[begin(), begin()]}
          chosen={[i, number("j", names.length)]}
          onChoose={(row, j) => select({ i: row, j })}
        />
      ) : `${attention}.bias` in trace.value!.shapes ? (
        <Absent of={bias} title={say("bias")} />
      ) : (
        <Missing>{say("no_attention")}</Missing>
      )}
    </>
  );
}

/** How each positional encoding is drawn; a new one needs its row here. */
const DRAWINGS = { sinusoidal: Added, learned: Added, rotary: Rotary, alibi: Biased };

export function PositionsView() {
  const positions = positionsOf(model.value!.config);
  const now = trace.value!;
  const names = labels(tokensOf(stacks()[0]));
  const i = number("i", names.length);
  const off = now.what_if.positions_off;
  const Shown = positions !== "none" && DRAWINGS[positions];
  return (
    <>
      <p>
        {positions === "none" ? say("positions_are_off") : say("positions_are", { how: say(`positions_${positions}`) })}
      </p>
      {Shown && (
        <>
          <Ask change={{ positions_off: !off }}>{say(off ? "positions_on" : "positions_off")}</Ask>
          <Slider
            title={say("position")}
            value={i}
            most={names.length - 1}
            onMove={(at) => select({ i: at })}
            shown={`${i} · ${isolate(names[i])}`}
          />
          <Shown names={names} i={i} />
        </>
      )}
    </>
  );
}
