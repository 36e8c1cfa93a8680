// The numbers below the picture: what each key is, and what the query takes from it.
import { useSignal } from "@preact/signals";
import { selected } from "../../attention";
import { sum } from "../../numbers";
import { Bar } from "../../pictures/bar";
import { Strip } from "../../pictures/strip";
import { clamp, select } from "../../state";
import type { MaybeFloats } from "../../use";
import { isolate, say, show } from "../../words";
import type { Computation } from "./computation";

/** In the place of what is not there: it is on its way, or was left out. */
export const pending = (values: MaybeFloats) => (values === null ? "–" : "…");

/** A vector as a strip, by `most` or by its own largest number. */
export const VectorStrip = (props: { values: MaybeFloats; title: string; most?: number }) =>
  props.values ? <Strip values={props.values} title={props.title} most={props.most} /> : <>{pending(props.values)}</>;

/** A row for each key; arrows choose another one. */
export function Keys(props: { of: Computation; most?: number }) {
  const { names, letters, j, k, v, scores, weights, shares } = props.of;
  const [, begin] = selected().begins;
  const move = (event: KeyboardEvent) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    select({ j: clamp(j + by, names.length) });
  };
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={say("choose_key")} onKeyDown={move}>
      <table class="answers">
        <caption>{say("choose_key")}</caption>
        <thead>
          <tr>
            <th scope="col">j</th>
            <th scope="col">{letters.key}</th>
            <th scope="col">{letters.value}</th>
            <th scope="col">{letters.score}</th>
            <th scope="col" colSpan={2}>
              {letters.weight}
            </th>
          </tr>
        </thead>
        <tbody>
          {names.map((piece, at) => (
            <tr
              key={at}
              class={`${at === j ? "lit" : ""} ${begin && at === begin ? "edge-row" : ""}`}
              aria-current={at === j}
              onClick={() => select({ j: at })}
            >
              <th scope="row">
                <bdi>{piece}</bdi>
              </th>
              <td>
                <VectorStrip values={k[at]} title={`${letters.key} ${isolate(piece)}`} most={props.most} />
              </td>
              <td>
                <VectorStrip values={v[at]} title={`${letters.value} ${isolate(piece)}`} most={props.most} />
              </td>
              <td class="number">{scores ? show(scores[at]) : pending(scores)}</td>
              <td class="number">{weights ? show(weights[at], 4) : pending(weights)}</td>
              <td class="wide">
                <Bar share={shares[at]} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The terms of the product of the query and the chosen key, when they are asked for. */
export function Terms(props: { of: Computation }) {
  const { q, k, j, asking, names } = props.of;
  const key = k[j];
  const open = useSignal(false);
  if (!q || !key) return null;
  const terms = Array.from(q, (value, d) => value * key[d]);
  return (
    <>
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
      {open.value && (
        <p class="numbers">
          {terms.map((term) => show(term)).join(" + ")} = {show(sum(terms), 4)}
        </p>
      )}
    </>
  );
}
