// One query: from its vector to the weighted sum of the values, as the lecture draws it.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import {
  Chooser,
  chosenAt,
  Formulas,
  groupOf,
  biasedBy,
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
import { model, trace } from "../data";
import { Absent } from "../parts";
import { Bar } from "../pictures/bar";
import { projector } from "../keys";
import { largest, widest } from "../pictures/canvas";
import { common, Legend } from "../pictures/legend";
import { Player, usePlayer } from "../pictures/player";
import { useRoom } from "../pictures/room";
import { alone, Save } from "../pictures/save";
import { Strip } from "../pictures/strip";
import { labels, TokenRow } from "../pictures/tokens";
import { column } from "../pictures/vector";
import { inColumns, select } from "../state";
import { useFloats, useRoots } from "../use";
import { brief, isolate, ordinal, percent, say, show } from "../words";

/** How the picture grows, as the words of its steps. */
const STEPS = [
  "step_inputs",
  "step_products",
  "step_dots",
  "step_scaled",
  "step_exp",
  "step_shares",
  "step_sum",
] as const;

/** A letter with its place above it: a¹. */
const Named = (props: { letter: string; place: number }) => (
  <>
    {props.letter}
    <tspan class="place" dy="-0.45em">
      {ordinal(props.place)}
    </tspan>
  </>
);

interface Drawn {
  /** Letters of input, query, key, value, score, weight and result. */
  letters: string[];
  /** Names the trace and the attention, for what is kept of the pictures. */
  of: string;
  names: string[];
  asking: string;
  cross: boolean;
  off: boolean;
  i: number;
  j: number;
  q: Float32Array | null | undefined;
  k: (Float32Array | null | undefined)[];
  v: (Float32Array | null | undefined)[];
  /** Products of query and key, their scaled sums (with the bias), and weights. */
  dots: number[] | null;
  alpha: Float32Array | null | undefined;
  shares: number[];
  step: number;
  onKey: (j: number) => void;
}

/** Lines of text and upper edges of boxes, from above to below. */
const BAND = {
  b: 18,
  sum: 46,
  shared: 104,
  soft: 140,
  exp: 168,
  scaled: 190,
  dot: 212,
  query: 246,
  vectors: 262,
  box: 346,
  token: 396,
};
/** The height of a vector. */
const TALL = 56;
/** A column in which names stand upright; in others they are turned by so many radians. */
const ROOMY = 50;
const SLOPE = Math.PI / 3;
/** Columns are no narrower: a few, whose numbers are all written, and many, where only those of the chosen key are. */
const NARROW = { few: 28, many: 14 };
/** A column with room for the name of its input. */
const NAMED = 26;
/** A column with room for its numbers; from afar, they have to be larger. */
const roomForNumbers = () => (projector.value ? 40 : 36);

const shortened = (name: string) => (name.length > 12 ? `${name.slice(0, 11)}⋯` : name);

/** The lecture's picture: inputs below, queries and keys above them, scores where they meet, and the weighted sum on top. */
function Picture(props: Drawn) {
  const { letters, names, asking, cross, i, j, step, shares, dots, alpha } = props;
  const [a, qLetter, kLetter, vLetter, score, weight, b] = letters;
  const drawing = useRef<SVGSVGElement>(null);
  const [box, room] = useRoom(projector.value, trace.value);
  const least = names.length > 24 ? NARROW.many : NARROW.few;
  const long = names.map((name) => (14 / 13) * widest([shortened(name)]));
  // Names that have no room side by side hang below their columns, to the left.
  const left = cross ? 110 : Math.max(34, ...long.map((each, at) => each * Math.cos(SLOPE) - at * least));
  const high = (cell: number) => BAND.token + (cell >= ROOMY ? 12 : Math.max(...long) * Math.sin(SLOPE) + 12);
  const across = (room?.width ?? 320) - 20;
  // On a projector letters are 24 pixels high, if all columns have room then.
  const fitting = Math.min(
    across / (left + least * names.length),
    room ? (room.height - 3 * room.em) / high((14 / 24) * (across / names.length)) : 1,
  );
  const scale = projector.value ? Math.max(1, Math.min(24 / 14, fitting)) : 1;
  const cell = Math.max(least, Math.min(130, (across / scale - left) / names.length));
  const height = high(cell);
  const wide = left + cell * names.length + 20;
  const x = (at: number) => left + (at + 0.5) * cell;
  const asks = cross ? 50 : x(i);
  const shown = (from: number) => (step >= from ? (step === from ? "now" : "") : "later");
  const most = [props.k, props.v].map((all) => largest(...all));
  const thin = Math.max(3, Math.min(16, cell / 4));
  /** How far keys and values stand from the middle; the query of the asking token is between its own. */
  const apart = (at: number) => (!cross && at === i ? 1.6 : 1) * thin;
  const roomy = cell >= ROOMY;
  const all = cell >= roomForNumbers();
  const numbered = (at: number) => all || at === j;
  const vector = (values: Float32Array | null | undefined, at: number, y: number, top: number, title: string) =>
    values && (
      <image
        href={column(values, top, `${props.of} ${values.byteOffset} ${title}`)}
        x={at - thin / 2}
        y={y}
        width={thin}
        height={TALL}
        preserveAspectRatio="none"
      >
        <title>{title}</title>
      </image>
    );
  const biggest = alpha ? Math.max(...alpha) : 0;
  const exps = alpha && Array.from(alpha, (value) => Math.exp(value - biggest));
  const total = exps && exps.reduce((sum, each) => sum + each, 0);
  const largestShare = Math.max(...shares, 1e-9);
  const hidden = (at: number) => alpha != null && alpha[at] === -Infinity;
  return (
    <figure class={props.off ? "off" : ""}>
      <div ref={box} class="scroll" tabIndex={0} role="region" aria-label={say("view_query")}>
        <svg
          ref={drawing}
          class="attend"
          style={{ "--value": `${all ? Math.min(projector.value ? 14 : 12, cell / 3.1) : 12}px` }}
          width={scale * wide}
          viewBox={`0 0 ${wide} ${height}`}
          role="img"
          aria-label={say("picture_of_query", { token: asking, step: say(STEPS[step]) })}
        >
          {names.map((name, at) => (
            <g
              key={at}
              class={`${at === j ? "lit" : ""} ${hidden(at) ? "hidden" : ""}`}
              onClick={() => props.onKey(at)}
            >
              <rect class="touch" x={x(at) - cell / 2} y={BAND.exp - 60} width={cell} height={height - BAND.exp + 60} />
              <rect class="box" x={x(at) - cell * 0.42} y={BAND.box} width={cell * 0.84} height="30" rx="4" />
              {(cell >= NAMED || at === j || at === i) && (
                <text x={x(at)} y={BAND.box + 20} text-anchor="middle">
                  <Named letter={cross ? `${a}̄` : a} place={at} />
                </text>
              )}
              <text
                class="token-name"
                x={x(at)}
                y={BAND.token}
                text-anchor={roomy ? "middle" : "end"}
                transform={roomy ? "" : `rotate(-60 ${x(at)} ${BAND.token})`}
              >
                {isolate(shortened(name))}
              </text>
              <g class={shown(1)}>
                <line x1={x(at)} y1={BAND.box} x2={x(at) - apart(at)} y2={BAND.vectors + TALL + 14} />
                <line x1={x(at)} y1={BAND.box} x2={x(at) + apart(at)} y2={BAND.vectors + TALL + 14} />
                {vector(props.k[at], x(at) - apart(at), BAND.vectors, most[0], `${kLetter} ${name}`)}
                {vector(props.v[at], x(at) + apart(at), BAND.vectors, most[1], `${vLetter} ${name}`)}
                {roomy && (
                  <>
                    <text class="small" x={x(at) - apart(at)} y={BAND.vectors + TALL + 12} text-anchor="middle">
                      <Named letter={kLetter} place={at} />
                    </text>
                    <text class="small" x={x(at) + apart(at)} y={BAND.vectors + TALL + 12} text-anchor="middle">
                      <Named letter={vLetter} place={at} />
                    </text>
                  </>
                )}
              </g>
              {!hidden(at) && (
                <g class={shown(2)}>
                  <path
                    class="meet"
                    d={`M${asks},${BAND.query} L${x(at)},${BAND.dot + 4} L${x(at) - apart(at)},${BAND.vectors}`}
                  />
                  <circle cx={x(at)} cy={BAND.dot + 4} r="3" />
                  {dots && numbered(at) && (
                    <text class="value" x={x(at)} y={BAND.dot - 4} text-anchor="middle">
                      {brief(dots[at])}
                    </text>
                  )}
                </g>
              )}
              {alpha && numbered(at) && (
                <text class={`value ${shown(3)}`} x={x(at)} y={BAND.scaled} text-anchor="middle">
                  {brief(alpha[at])}
                </text>
              )}
              {exps && numbered(at) && (
                <text class={`value ${shown(4)}`} x={x(at)} y={BAND.exp} text-anchor="middle">
                  {brief(exps[at])}
                </text>
              )}
              <g class={shown(5)}>
                {shares[at] > 0 && (
                  <rect
                    class="share"
                    x={x(at) - cell * 0.3}
                    y={BAND.shared - (22 * shares[at]) / largestShare}
                    width={cell * 0.6}
                    height={(22 * shares[at]) / largestShare}
                  />
                )}
                {numbered(at) && (
                  <text class="value" x={x(at)} y={BAND.shared + 14} text-anchor="middle">
                    {brief(shares[at])}
                  </text>
                )}
              </g>
              {shares[at] > 0 && (
                <g class={shown(6)}>
                  <line
                    class="flow"
                    x1={x(at)}
                    y1={BAND.shared - 24}
                    x2={asks}
                    y2={BAND.sum + 11}
                    stroke-width={1 + 6 * shares[at]}
                    stroke-opacity={0.15 + 0.85 * shares[at]}
                  />
                </g>
              )}
            </g>
          ))}
          <g class={shown(1)}>
            {cross && (
              <>
                <rect class="box asks" x={asks - 28} y={BAND.box} width="56" height="30" rx="4" />
                <text x={asks} y={BAND.box + 20} text-anchor="middle">
                  <Named letter={a} place={i} />
                </text>
                <text class="token-name" x={asks} y={BAND.token} text-anchor="middle">
                  {isolate(asking)}
                </text>
              </>
            )}
            {!cross && <path class="meet" d={`M${asks},${BAND.box} L${asks},${BAND.query}`} />}
            {vector(props.q, asks, BAND.vectors, most[0], `${qLetter} ${asking}`)}
            {!cross && <rect class="ring" x={asks - cell * 0.42} y={BAND.box} width={cell * 0.84} height="30" rx="4" />}
            <text class="query" x={asks + 6} y={BAND.query + 14}>
              <Named letter={qLetter} place={i} />
            </text>
          </g>
          <g class={shown(4)}>
            <rect class="soft" x={left - 4} y={BAND.soft - 14} width={cell * names.length + 8} height="20" rx="4" />
            <text x={left + 4} y={BAND.soft + 1}>
              softmax: e^({score} − {score} max) ÷ Σ{total ? ` = ${show(total, 3)}` : ""}
            </text>
          </g>
          <g class={shown(6)}>
            <circle class="sum" cx={asks} cy={BAND.sum} r="12" />
            <text x={asks} y={BAND.sum + 5} text-anchor="middle">
              Σ
            </text>
            <line x1={asks} y1={BAND.sum - 12} x2={asks} y2={BAND.b + 6} />
            <text class="query" x={asks} y={BAND.b} text-anchor="middle">
              <Named letter={b} place={i} />
            </text>
            <text class="small" x={asks + 20} y={BAND.sum + 4}>
              Σ {weight}·{vLetter}
            </text>
          </g>
          <g class="rows">
            {(
              [
                [BAND.shared + 14, weight, 5],
                [BAND.exp, "exp", 4],
                [BAND.scaled, score, 3],
                [BAND.dot - 4, "q·k", 2],
              ] as const
            ).map(([y, name, from]) => (
              <text key={name} class={`small ${shown(from)}`} x="2" y={y}>
                {name}
              </text>
            ))}
            {!roomy && (
              <text class={`small ${shown(1)}`} x="2" y={BAND.vectors + TALL / 2}>
                {kLetter} {vLetter}
              </text>
            )}
          </g>
        </svg>
      </div>
      <figcaption class="tools">
        <Legend />
        <Save name={say("view_query")} svg={() => drawing.current && alone(drawing.current)} />
      </figcaption>
    </figure>
  );
}

export function OneQuery() {
  const { stack, name, cross, asks, answers, begins, head, i, j } = selected();
  const [n, width] = [answers.ids.length, headWidth()];
  const rotated = cross ? "" : "rotated_";
  const whole = model.value!.config.width;
  const given = useFloats(inputs()[0]);
  const queries = useFloats(`${name}.${rotated}queries`);
  const keys = useFloats(`${name}.${rotated}keys`);
  const values = useFloats(`${name}.values`);
  const scores = useScores(name, head, asks.ids.length, n);
  const bias = useBias(name, head, asks.ids.length, n);
  const weights = useFloats(`${name}.weights`);
  const roots = useRoots(weights === null ? `${name}.weights` : null);
  const context = useFloats(`${name}.context`);
  const open = useSignal(false);
  const player = usePlayer(STEPS.length);
  if (!isThere(name)) return <NoAttention />;
  const names = labels(answers),
    asking = labels(asks)[i];
  const part = (all: Float32Array | null | undefined, row: number, wide: number) =>
    all && all.subarray(row * wide, (row + 1) * wide);
  const q = part(queries, head * asks.ids.length + i, width);
  const [k, v] = [keys, values].map((all) => names.map((_, at) => part(all, groupOf(head) * n + at, width)));
  const alpha = part(scores, i, n),
    share = part(weights, head * asks.ids.length + i, n);
  const pictured = (at: number) =>
    share ? share[at] : roots ? (roots[(head * asks.ids.length + i) * n + at] / 255) ** 2 : 0;
  const letters = inColumns() ? ["a", "q", "k", "v", "α", "α′", "b"] : ["x", "q", "k", "v", "s", "p", "o"];
  const missing = letters.filter((_, at) => [given, queries, keys, values, scores, weights, context][at] === null);
  const products = q && k[j] && Array.from(q, (value, d) => value * k[j]![d]);
  const unscaled = isScaled() ? Math.sqrt(width) : 1;
  const dots = alpha ? Array.from(alpha, (value, at) => (value - (bias ? bias[i * n + at] : 0)) * unscaled) : null;
  const pending = (all: unknown) => (all === null ? "–" : "…");
  const unless = (all: unknown, there: () => ComponentChildren) => (all ? there() : pending(all));
  const group = largest(...k, ...v, q);
  const strip = (values: Float32Array | null | undefined, title: string) =>
    unless(values, () => <Strip values={values!} title={title} most={common.value ? group : undefined} />);
  const vector = (letter: string, values: Float32Array | null | undefined) => (
    <p class="vector">
      <b>
        {letter}
        <sup>{ordinal(i)}</sup>
      </b>{" "}
      {strip(values, `${letter} ${isolate(asking)}`)}
    </p>
  );
  const move = (event: KeyboardEvent) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    select({ j: Math.max(0, Math.min(n - 1, j + by)) });
  };
  const titles = [
    letters[0],
    "W",
    "q · k",
    `÷ √d${{ alibi: " − m |i − j|", relative: " + r", none: "" }[biasedBy(cross) ?? "none"]}`,
    "exp",
    letters[5],
    `Σ → ${letters[6]}`,
  ];
  const next = (i + 1) % asks.ids.length;
  return (
    <>
      <Chooser />
      <TokenRow
        tokens={asks}
        begin={begins[0]}
        chosen={i}
        onChoose={(at) => select(chosenAt(stack, at))}
        title={say("query_of")}
      />
      {missing.length > 0 && <Absent of={null} title={missing.join(", ")} />}
      <Player of={player} names={titles} />
      <p aria-live="polite" class="narration">
        {say(STEPS[player.at], {
          token: asking,
          key: names[j],
          dot: dots ? show(dots[j]) : pending(alpha),
          score: alpha ? show(alpha[j]) : pending(alpha),
          share: share ? percent(share[j]) : pending(share),
          a: letters[0],
        })}{" "}
        <button
          type="button"
          onClick={() => {
            select(chosenAt(stack, next));
            player.go(2);
            player.play();
          }}
        >
          {say("same_for", { letter: letters[6], place: ordinal(next), token: labels(asks)[next] })}
        </button>
      </p>
      <Picture
        {...{ letters, names, asking, cross, i, j, q, k, v, dots, alpha }}
        off={isOff(name, head)}
        shares={names.map((_, at) => pictured(at))}
        of={`${trace.value!.id} ${trace.value!.text} ${name}`}
        step={player.at}
        onKey={(at) => select({ j: at })}
      />
      <Formulas single cross={cross} />
      {vector(letters[0], part(given, i, whole))}
      {vector(letters[1], q)}
      <div class="scroll" tabIndex={0} role="region" aria-label={say("choose_key")} onKeyDown={move}>
        <table class="answers">
          <caption>{say("choose_key")}</caption>
          <thead>
            <tr>
              <th scope="col">j</th>
              <th scope="col">{letters[2]}</th>
              <th scope="col">{letters[3]}</th>
              <th scope="col">{letters[4]}</th>
              <th scope="col" colSpan={2}>
                {letters[5]}
              </th>
            </tr>
          </thead>
          <tbody>
            {names.map((piece, at) => (
              <tr
                key={at}
                class={`${at === j ? "lit" : ""} ${begins[1] && at === begins[1] ? "edge-row" : ""}`}
                aria-current={at === j}
                onClick={() => select({ j: at })}
              >
                <th scope="row">
                  <bdi>{piece}</bdi>
                </th>
                <td>{strip(k[at], `${letters[2]} ${isolate(piece)}`)}</td>
                <td>{strip(v[at], `${letters[3]} ${isolate(piece)}`)}</td>
                <td class="number">{unless(alpha, () => show(alpha![at]))}</td>
                <td class="number">{unless(share, () => show(share![at], 4))}</td>
                <td class="wide">
                  <Bar share={pictured(at)} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <Legend most={common.value ? group : undefined} grouped />
      {vector(letters[6], part(context, head * asks.ids.length + i, width))}
      {products && (
        <p>
          <button
            type="button"
            class="link"
            aria-expanded={open.value}
            onClick={() => {
              open.value = !open.value;
            }}
          >
            {say("element_wise", { i: asking, j: names[j] })}
          </button>
        </p>
      )}
      {products && open.value && (
        <p class="numbers">
          {products.map((value) => show(value)).join(" + ")} ={" "}
          {show(
            products.reduce((sum, value) => sum + value, 0),
            4,
          )}
        </p>
      )}
    </>
  );
}
