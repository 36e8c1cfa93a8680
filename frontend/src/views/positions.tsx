// How a model can know where a token stands: every kind of positions, and what is lost without them.
import { signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { headWidth } from "../attention";
import { again, asked, begin, busy, model, peek, positionsOf, saw, served, tokensOf, trace } from "../data";
import { tensor2tensor } from "../model/network/positions";
import { Absent, Ask, Choice, Formula, headName, Missing, Slider, upTo } from "../parts";
import { Heatmap } from "../pictures/heatmap";
import { alone, csvOf, Save, together } from "../pictures/save";
import { Strip } from "../pictures/strip";
import { labels } from "../pictures/tokens";
import { inColumns, number, select, stacks } from "../state";
import { useFloats, useMatrix } from "../use";
import { isolate, ordinal, say, show } from "../words";
import "./positions.css";

interface Shown {
  names: string[];
  i: number;
  /** It is the model's own. */
  own: boolean;
}

/** Radians a position of a pair of coordinates of vectors of this width. */
const frequency = (pair: number, width: number) => 10000 ** ((-2 * pair) / width);
const count = (length: number) => Array.from({ length }, (_, k) => String(k));

/** The sinusoids of Vaswani et al. 2017, section 3.5: sine and cosine of each frequency, side by side. */
const sinusoid = (position: number, c: number, period: number) =>
  (c % 2 ? Math.cos : Math.sin)(position * frequency(Math.floor(c / 2), period));

/** Vectors with their names, a row each. */
const vectorsCsv = (vectors: [string, ArrayLike<number>][]) =>
  csvOf(vectors.map(([title, values]) => [title, ...Array.from(values)]));

/** Positions that are added to the embeddings: a, e and their sum at one token. */
function Sum(props: Shown & { encoding: ArrayLike<number> }) {
  const { i, encoding, own } = props;
  const { width } = model.value!.config;
  const embeddings = useFloats(`${stacks()[0]}.embedding`);
  if (!embeddings) return <Absent of={embeddings} title="a" />;
  const a = embeddings.slice(i * width, (i + 1) * width);
  const e = Float32Array.from({ length: width }, (_, c) => encoding[i * width + c]);
  const strips = { a, e, "a + e": a.map((value, c) => value + e[c]) };
  return (
    <>
      <p>{say(own ? "added_letters" : "added_hypothetical")}</p>
      {Object.entries(strips).map(([title, values]) => (
        <p class="vector" key={title}>
          <b>
            {title}
            {title !== "a + e" && <sup>{i}</sup>}
          </b>{" "}
          <Strip values={values} title={`${title} ${props.names[i]}`} />{" "}
          <small>{say("vector_length", { length: show(Math.hypot(...values), 2) })}</small>
        </p>
      ))}
      <Save name={`a + e ${props.names[i]}`} svg={null} csv={() => vectorsCsv(Object.entries(strips))} />
    </>
  );
}

/** A matrix of encodings, a row for each token. */
function Encodings(props: Shown & { encoding: ArrayLike<number> }) {
  const { width } = model.value!.config;
  const columns = useMemo(() => count(width), [width]);
  return (
    <Heatmap
      title={say("encoding")}
      rows={props.names}
      columns={columns}
      numbers={props.encoding}
      signed
      turned={inColumns()}
      begin={[begin(), 0]}
      chosen={[props.i, number("c", width)]}
      onChoose={(row, c) => select({ i: row, c })}
    />
  );
}

const [CURVE_WIDTH, CURVE_HEIGHT] = [640, 110];

/** One coordinate of the encoding over all positions. */
function Curve(props: { c: number; i: number; length: number; period: number }) {
  const drawing = useRef<SVGSVGElement>(null);
  const { c, i } = props;
  const { width } = model.value!.config;
  const most = Math.max(props.length - 1, 63);
  const x = (position: number) => 10 + (position / most) * (CURVE_WIDTH - 20);
  const y = (value: number) => CURVE_HEIGHT / 2 - value * (CURVE_HEIGHT / 2 - 12);
  const line = (coordinate: number) =>
    Array.from(
      { length: 4 * most + 1 },
      (_, k) => `${k ? "L" : "M"}${x(k / 4).toFixed(1)},${y(sinusoid(k / 4, coordinate, props.period)).toFixed(1)}`,
    ).join("");
  const value = sinusoid(i, c, props.period);
  return (
    <figure class="curve">
      <svg
        ref={drawing}
        viewBox={`0 0 ${CURVE_WIDTH} ${CURVE_HEIGHT}`}
        role="img"
        aria-label={say("curve", { c, i, value: show(value) })}
      >
        <line class="axis" x1="0" x2={CURVE_WIDTH} y1={y(0)} y2={y(0)} />
        {c + 2 < width && <path class="next" d={line(c + 2)} />}
        <path d={line(c)} />
        <line class="here" x1={x(i)} x2={x(i)} y1="0" y2={CURVE_HEIGHT} />
        <circle cx={x(i)} cy={y(value)} r="5" />
      </svg>
      <figcaption>
        {say("curve", { c, i, value: show(value) })}
        <Save
          name={say("positions_sinusoidal")}
          svg={() => drawing.current && alone(drawing.current)}
          csv={() =>
            csvOf(
              Array.from({ length: most + 1 }, (_, position) => [
                ordinal(position),
                sinusoid(position, c, props.period),
              ]),
            )
          }
        />
      </figcaption>
    </figure>
  );
}

function Sinusoids(props: Shown & { formula: "sinusoid" | "tensor2tensor"; period: number }) {
  const { width } = model.value!.config;
  const { period } = props;
  const c = number("c", width);
  const encoding = useMemo(
    () =>
      Float32Array.from({ length: props.names.length * width }, (_, k) =>
        sinusoid(Math.floor(k / width), k % width, period),
      ),
    [props.names, width, period],
  );
  return (
    <>
      <Formula name={props.formula} />
      <Slider title={say("coordinate")} value={c} most={width - 1} onMove={(to) => select({ c: to })} />
      <Curve c={c} i={props.i} length={props.names.length} period={period} />
      <Encodings {...props} encoding={encoding} />
      <Formula name="added" />
      <Sum {...props} encoding={encoding} />
    </>
  );
}

/** What training has made of them: the difference that they make. */
function Learned(props: Shown) {
  const [stack] = stacks();
  const before = useFloats(`${stack}.embedding`);
  const after = useFloats(`${stack}.input`);
  const encoding = useMemo(() => before && after && after.map((value, k) => value - before[k]), [before, after]);
  if (!props.own) return <Missing>{say("learned_elsewhere")}</Missing>;
  if (!encoding) return <Absent of={encoding} title="e" />;
  return (
    <>
      <p>{say("learned_positions")}</p>
      <Encodings {...props} encoding={encoding} />
      <Formula name="added" />
      <Sum {...props} encoding={encoding} />
    </>
  );
}

/** Each pair of coordinates as a dial: the hand of the query at i, and that of the key at j. */
function Dials(props: { i: number; j: number; width: number }) {
  const box = useRef<HTMLDivElement>(null);
  const { i, j, width } = props;
  const hand = (position: number, pair: number, long: number) => {
    const angle = position * frequency(pair, width);
    return { x2: long * Math.cos(angle), y2: -long * Math.sin(angle) };
  };
  const pairs = Array.from({ length: width / 2 }, (_, pair) => pair);
  const label = say("dials", { i, j, n: width / 2 });
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
              ...pairs.map((pair) => [pair, i * frequency(pair, width), j * frequency(pair, width)]),
            ])
          }
        />
      </figcaption>
    </figure>
  );
}

function Rotary(props: Shown) {
  const { names, i, own } = props;
  const attention = `${stacks()[0]}.0.self`;
  const asking = `${attention}.queries`;
  const head = number("head", model.value!.config.heads);
  const queries = useFloats(own ? asking : null);
  const rotated = useFloats(own ? `${attention}.rotated_queries` : null);
  const width = headWidth() - (headWidth() % 2);
  const j = number("j", names.length);
  useEffect(() => {
    if (i === j) select({ i: i || Math.floor(names.length / 2), j: 0 }); // or there is no angle to be seen
  }, []);
  const pairs = useMemo(() => count(width / 2), [width]);
  const cosines = useMemo(
    () => names.flatMap((_, position) => pairs.map((_, pair) => Math.cos(position * frequency(pair, width)))),
    [names, pairs],
  );
  const at = (values: Float32Array) => {
    const from = (head * names.length + i) * width;
    return values.subarray(from, from + width);
  };
  const strip = (values: Float32Array, title: string) => (
    <p class="vector">
      <b>{title}</b> <Strip values={at(values)} title={title} />
    </p>
  );
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
      <Dials i={i} j={j} width={width} />
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
      {own &&
        (queries && rotated ? (
          <>
            <p>{say("query_turned", { head: headName(attention, head), token: names[i] })}</p>
            {strip(queries, "q")}
            {strip(rotated, "R q")}
            <Save
              name={`q ${props.names[i]}`}
              svg={null}
              csv={() =>
                vectorsCsv([
                  ["q", at(queries)],
                  ["R q", at(rotated)],
                ])
              }
            />
          </>
        ) : asking in trace.value!.shapes ? (
          <Absent of={queries && (rotated as null | undefined)} title="q, R q" />
        ) : (
          <Missing>{say("no_attention")}</Missing>
        ))}
    </>
  );
}

/** A bias of one head on the scores: a row for each query, and a column for each key. */
function Bias(props: Shown & { title: string; numbers: ArrayLike<number>; children?: ComponentChildren }) {
  const { names, i } = props;
  const { heads } = model.value!.config;
  return (
    <>
      <Choice
        title={say("head")}
        value={number("head", heads)}
        of={upTo(heads)}
        onChoose={(head) => select({ head })}
      />{" "}
      {props.children}
      <Heatmap
        title={props.title}
        rows={names}
        columns={names}
        numbers={props.numbers}
        signed
        turned={inColumns()}
        begin={[begin(), begin()]}
        chosen={[i, number("j", names.length)]}
        onChoose={(row, j) => select({ i: row, j })}
      />
    </>
  );
}

/** −m |i − j|, with the slopes of Press et al. 2022, section 3. */
function Alibi(props: Shown) {
  const { names } = props;
  const { heads } = model.value!.config;
  const slope = 2 ** ((-8 * (number("head", heads) + 1)) / heads);
  const bias = useMemo(
    () => names.flatMap((_, query) => names.map((_, key) => -slope * Math.abs(query - key))),
    [names, slope],
  );
  return (
    <>
      <Formula name="bias" />
      <p>{say("alibi")}</p>
      <Bias {...props} title={say("bias")} numbers={bias}>
        m = {show(slope, 4)}
      </Bias>
    </>
  );
}

/** The number learned for each distance, of the first layer's scores: all layers have the same. */
function Relative(props: Shown) {
  const { names } = props;
  const name = `${stacks()[0]}.0.self.bias`;
  const all = useFloats(props.own && name in trace.value!.shapes ? name : null);
  const bias = useMatrix(all, number("head", model.value!.config.heads), names.length ** 2);
  if (!props.own) return <Missing>{say("relative_elsewhere")}</Missing>;
  return (
    <>
      <Formula name="relative" />
      <p>{say("relative")}</p>
      {!(name in trace.value!.shapes) ? (
        <Missing>{say("no_attention")}</Missing>
      ) : !bias ? (
        <Absent of={bias} title="r" />
      ) : (
        <Bias {...props} title={say("relative_bias")} numbers={bias} />
      )}
    </>
  );
}

const Nothing = () => <p>{say("no_positions")}</p>;

const Sinusoidal = (props: Shown) => <Sinusoids {...props} formula="sinusoid" period={model.value!.config.width} />;

const Tensor2Tensor = (props: Shown) => (
  <Sinusoids {...props} formula="tensor2tensor" period={tensor2tensor(model.value!.config.width)} />
);

/** How each kind of positions is drawn; a new one needs its row here. */
const DRAWINGS = {
  sinusoidal: Sinusoidal,
  tensor2tensor: Tensor2Tensor,
  learned: Learned,
  rotary: Rotary,
  alibi: Alibi,
  relative: Relative,
  none: Nothing,
};
type Kind = keyof typeof DRAWINGS;
const KINDS = Object.keys(DRAWINGS) as Kind[];

/** A sentence, and the same words in another order. */
/** Of orders, until one has another answer. */
const TRIES = 8;
const orders = signal<[string, string] | null>(null);

/** The words of a sentence in another order; its characters, where it is one word; null where there is only one order. */
export function shuffled(text: string): string | null {
  const words = text.trim().split(/\s+/);
  const [parts, space] = words.length > 1 ? [words, " "] : [[...text.trim()], ""];
  if (new Set(parts).size < 2) return null;
  for (;;) {
    const found = parts.map((part) => [Math.random(), part] as const).sort(([a], [b]) => a - b);
    const joined = found.map(([, part]) => part).join(space);
    if (joined !== parts.join(space)) return joined;
  }
}

/** What the model answers to the words in their order and in another, with positions and without. */
function Order() {
  const { text } = asked.value!;
  const pair = orders.value?.includes(text) ? orders.value : null;
  const question = (line: string, positions_off: boolean) => ({ text: line, target: "", positions_off });
  const shuffle = async () => {
    const answerTo = (line: string) => saw(question(line, false))?.output;
    try {
      await peek(question(text, false));
      let other = text;
      for (let k = 0; k < TRIES && answerTo(other) === answerTo(text); k++) {
        other = shuffled(text)!;
        await peek(question(other, false));
      }
      orders.value = [text, other];
      for (const line of [text, other]) await peek(question(line, true));
    } catch {
      orders.value = null; // such as the words, in another order, are too many tokens
    }
  };
  const answer = (line: string, positions_off: boolean) => {
    const found = saw(question(line, positions_off));
    return found ? <bdi lang="">{found.output || say("nothing")}</bdi> : "…";
  };
  return (
    <>
      <p>
        <button type="button" disabled={busy.value || shuffled(text) === null} onClick={shuffle}>
          {say("shuffle")}
        </button>
      </p>
      {pair && (
        <div class="scroll" tabIndex={0} role="region" aria-label={say("shuffle")}>
          <table class="orders">
            <thead>
              <tr>
                <th scope="col">{say("sentence")}</th>
                <th scope="col">{say("with_positions")}</th>
                <th scope="col">{say("without_positions")}</th>
              </tr>
            </thead>
            <tbody>
              {pair.map((line) => (
                <tr key={line}>
                  <th scope="row">
                    {line === text ? (
                      <bdi lang="">{line}</bdi>
                    ) : (
                      <button type="button" class="link" onClick={() => again({ text: line, target: "" })}>
                        <bdi lang="">{line}</bdi>
                      </button>
                    )}
                  </th>
                  <td>{answer(line, false)}</td>
                  <td>{answer(line, true)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {pair && <p class="explain">{say(stacks()[0] === "encoder" ? "bag_of_words" : "bag_of_words_decoder")}</p>}
    </>
  );
}

export function PositionsView() {
  const own = positionsOf(model.value!.config);
  const { positions_off } = trace.value!.what_if;
  const names = labels(tokensOf(stacks()[0]));
  const i = number("i", names.length);
  const kind = useSignal<Kind>(own);
  const Shown = DRAWINGS[kind.value];
  const turn = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    kind.value = KINDS[(KINDS.indexOf(kind.value) + by + KINDS.length) % KINDS.length];
    (event.currentTarget as HTMLElement).querySelector<HTMLElement>(`[data-kind=${kind.value}]`)?.focus();
  };
  return (
    <>
      <div class="kinds" role="tablist" aria-label={say("positions_kinds")} onKeyDown={turn}>
        {KINDS.map((each) => (
          <button
            type="button"
            key={each}
            role="tab"
            data-kind={each}
            aria-selected={each === kind.value}
            tabIndex={each === kind.value ? 0 : -1}
            onClick={() => {
              kind.value = each;
            }}
          >
            {say(`positions_${each}`)}
            {each === own && ` ★ ${say(positions_off ? "own_positions_off" : "own_positions")}`}
          </button>
        ))}
      </div>
      {own !== "none" && (
        <Ask change={{ positions_off: !positions_off }}>{say(positions_off ? "positions_on" : "positions_off")}</Ask>
      )}
      {served && asked.value && <Order />}
      <div role="tabpanel" aria-label={say(`positions_${kind.value}`)}>
        {kind.value !== "none" && (
          <Slider
            title={say("position")}
            value={i}
            most={names.length - 1}
            onMove={(at) => select({ i: at })}
            shown={`${i} · ${isolate(names[i])}`}
          />
        )}
        <Shown names={names} i={i} own={kind.value === own && !positions_off} />
      </div>
    </>
  );
}
