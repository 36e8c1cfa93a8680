// Rotary positions: the angles by which queries and keys are turned, and one query before and after.
import { useEffect, useMemo, useRef } from "preact/hooks";
import { chosenAt, headWidth } from "../../attention";
import { begin, model, trace } from "../../data";
import { wavelength } from "../../model/network/positions";
import { Absent, Formula, headName, Missing, Slider } from "../../parts";
import { coordinates, Heatmap } from "../../pictures/heatmap";
import { csvOf, Save, together, vectorsCsv } from "../../pictures/save";
import { Strip } from "../../pictures/strip";
import { inColumns, number, select, stacks } from "../../state";
import { useFloats } from "../../use";
import { isolate, say } from "../../words";
import type { DrawingProps } from "./drawing";
import "./rotary.css";

export function Rotary(props: DrawingProps) {
  const { names, i, own } = props;
  const j = number("j", names.length);
  const pairs = Math.floor(headWidth() / 2);
  useEffect(() => {
    if (i === j) select({ ...chosenAt(stacks()[0], i || Math.floor(names.length / 2)), j: 0 }); // or no angle is seen
  }, []);
  return (
    <>
      <p>{say("rotary")}</p>
      <Formula name="angle" />
      <p>{say("angle_letters")}</p>
      <Slider
        title={say("key_position")}
        value={j}
        most={names.length - 1}
        onMove={(to) => select({ j: to })}
        shown={`${j} · ${isolate(names[j])}`}
      />
      <Dials i={i} j={j} pairs={pairs} />
      <Cosines names={names} i={i} pairs={pairs} />
      {own && <Rotated names={names} i={i} />}
    </>
  );
}

/** The angle in radians by which a pair of coordinates is turned at a position; `pairs`: how many a head has. */
const angle = (position: number, pair: number, pairs: number) => position / wavelength(pair, 2 * pairs);

/** Each pair of coordinates as a dial: the hand of the query at i, and that of the key at j. */
function Dials(props: { i: number; j: number; pairs: number }) {
  const box = useRef<HTMLDivElement>(null);
  const { i, j } = props;
  const hand = (position: number, pair: number, long: number) => {
    const turned = angle(position, pair, props.pairs);
    return { x2: long * Math.cos(turned), y2: -long * Math.sin(turned) };
  };
  const pairs = Array.from({ length: props.pairs }, (_, pair) => pair);
  const label = say("dials", { i, j, n: props.pairs });
  return (
    <figure>
      <div class="pairs" ref={box} role="img" aria-label={label}>
        {pairs.map((pair) => (
          <svg class="turns" key={pair} viewBox="-36 -34 72 88" aria-hidden="true">
            <circle r="30" />
            <line class="key" {...hand(j, pair, 30)} />
            <line {...hand(i, pair, 30)} />
            <text y="48" text-anchor="middle">
              {pair}
            </text>
          </svg>
        ))}
      </div>
      <figcaption>
        {label}
        <Save
          name={say("positions_rotary")}
          svg={() => box.current && together(box.current)}
          csv={() =>
            csvOf([
              ["", say("query_angle"), say("key_angle")],
              ...pairs.map((pair) => [pair, angle(i, pair, props.pairs), angle(j, pair, props.pairs)]),
            ])
          }
        />
      </figcaption>
    </figure>
  );
}

/** The cosine of the angle of each pair of coordinates at each position. */
function Cosines(props: { names: string[]; i: number; pairs: number }) {
  const { names, i, pairs } = props;
  const columns = useMemo(() => coordinates(pairs), [pairs]);
  const cosines = useMemo(
    () => names.flatMap((_, position) => columns.map((_, pair) => Math.cos(angle(position, pair, pairs)))),
    [names, columns],
  );
  return (
    <Heatmap
      title={say("cosines")}
      rows={names}
      columns={columns}
      numbers={cosines}
      signed
      turned={inColumns()}
      begin={[begin(), 0]}
      chosen={[i, number("d", pairs)]}
      onChoose={(row, d) => select({ ...chosenAt(stacks()[0], row), d })}
    />
  );
}

/** The query of a head of the first layer, before and after it is turned. */
function Rotated(props: { names: string[]; i: number }) {
  const { names, i } = props;
  const attention = `${stacks()[0]}.0.self`;
  const head = number("head", model.value!.config.heads);
  const queries = useFloats(`${attention}.queries`);
  const rotated = useFloats(`${attention}.rotated_queries`);
  if (!(`${attention}.queries` in trace.value!.shapes)) return <Missing>{say("no_attention")}</Missing>;
  if (!queries || !rotated) return <Absent of={queries && (rotated as null | undefined)} title="q, R q" />;
  const from = (head * names.length + i) * headWidth();
  const chosen = (values: Float32Array) => values.subarray(from, from + headWidth());
  const vectors: [string, Float32Array][] = [
    ["q", chosen(queries)],
    ["R q", chosen(rotated)],
  ];
  return (
    <>
      <p>{say("query_turned", { head: headName(attention, head), token: names[i] })}</p>
      {vectors.map(([title, values]) => (
        <p class="vector" key={title}>
          <b>{title}</b> <Strip values={values} title={title} />
        </p>
      ))}
      <Save name={`q ${names[i]}`} svg={null} csv={() => vectorsCsv(vectors)} />
    </>
  );
}
