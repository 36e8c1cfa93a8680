// One query: from its vector to the weighted sum of the values.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import {
  Chooser,
  Formulas,
  groupOf,
  hasPositions,
  headWidth,
  inputs,
  isThere,
  NoAttention,
  selected,
  useBias,
  useScores,
} from "../attention";
import { model } from "../data";
import { Absent } from "../parts";
import { Strip } from "../pictures/strip";
import { labels, TokenRow } from "../pictures/tokens";
import { inColumns, select } from "../state";
import { useFloats, useRoots } from "../use";
import { say, show } from "../words";

export function OneQuery() {
  const { name, cross, asks, answers, begins, head, i, j } = selected();
  const [n, width] = [answers.ids.length, headWidth()];
  const rotated = cross ? "" : "rotated_";
  const given = useFloats(inputs()[0]);
  const queries = useFloats(`${name}.${rotated}queries`);
  const keys = useFloats(`${name}.${rotated}keys`);
  const values = useFloats(`${name}.values`);
  const scores = useScores(name, head, asks.ids.length, n);
  const bias = useBias(name, head, asks.ids.length, n);
  const weights = useFloats(`${name}.weights`);
  const roots = useRoots(weights === null ? `${name}.weights` : null);
  const context = useFloats(`${name}.context`);
  const step = useSignal(3);
  const playing = useSignal(false);
  const open = useSignal(false);
  useEffect(() => {
    if (!playing.value) return;
    const timer = setTimeout(() => {
      step.value += 1;
      if (step.value >= 3) playing.value = false;
    }, 1000);
    return () => clearTimeout(timer);
  }, [playing.value, step.value]);
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
  const [a, ...letters] = inColumns() ? ["a", "q", "k", "v", "α", "α′", "b"] : ["x", "q", "k", "v", "s", "p", "o"];
  const missing = [a, ...letters].filter(
    (_, at) => [given, queries, keys, values, scores, weights, context][at] === null,
  );
  const products = q && k[j] && Array.from(q, (value, d) => value * k[j]![d]);
  const unless = (all: unknown, there: () => ComponentChildren) => (all ? there() : all === null ? "–" : "…");
  const strip = (values: Float32Array | null | undefined, title: string) =>
    unless(values, () => <Strip values={values!} title={title} />);
  const vector = (letter: string, values: Float32Array | null | undefined) => (
    <p class="vector">
      <b>
        {letter}
        <sup>{i}</sup>
      </b>{" "}
      {strip(values, `${letter} ${asking}`)}
    </p>
  );
  const move = (event: KeyboardEvent) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    select({ j: Math.max(0, Math.min(n - 1, j + by)) });
  };
  return (
    <>
      <Chooser />
      <TokenRow
        tokens={asks}
        begin={begins[0]}
        chosen={i}
        onChoose={(at) => select({ i: at })}
        title={say("query_of")}
      />
      <Formulas single cross={cross} />
      <div class="play" role="group" aria-label={say("steps")}>
        <button
          type="button"
          disabled={playing.value}
          onClick={() => {
            step.value = 0;
            playing.value = true;
          }}
        >
          ▶ {say("play")}
        </button>
        {["q · k", hasPositions("alibi", cross) ? "÷ √d − m |i − j|" : "÷ √d", "softmax", "Σ"].map((title, at) => (
          <button
            type="button"
            key={title}
            aria-pressed={step.value >= at}
            onClick={() => {
              playing.value = false;
              step.value = at;
            }}
          >
            {title}
          </button>
        ))}
      </div>
      {missing.length > 0 && <Absent of={null} title={missing.join(", ")} />}
      {vector(a, part(given, i, model.value!.config.width))}
      {vector(letters[0], q)}
      <div class="scroll" tabIndex={0} role="region" aria-label={say("choose_key")} onKeyDown={move}>
        <table class="answers">
          <caption>{say("choose_key")}</caption>
          <thead>
            <tr>
              <th scope="col">j</th>
              <th scope="col">{letters[1]}</th>
              <th scope="col">{letters[2]}</th>
              <th scope="col">{step.value === 0 ? "q·k" : letters[3]}</th>
              {step.value >= 2 && (
                <th scope="col" colSpan={2}>
                  {letters[4]}
                </th>
              )}
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
                <td>{strip(k[at], `${letters[1]} ${piece}`)}</td>
                <td>{strip(v[at], `${letters[2]} ${piece}`)}</td>
                <td class="number">
                  {unless(alpha, () =>
                    show(
                      step.value === 0 ? (alpha![at] - (bias ? bias[i * n + at] : 0)) * Math.sqrt(width) : alpha![at],
                    ),
                  )}
                </td>
                {step.value >= 2 && <td class="number">{unless(share, () => show(share![at], 4))}</td>}
                {step.value >= 2 && (
                  <td class="wide">
                    {pictured(at) > 0 && <span class="bar" style={{ width: `${100 * pictured(at)}%` }} />}
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {step.value >= 3 && vector(letters[5], part(context, head * asks.ids.length + i, width))}
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
