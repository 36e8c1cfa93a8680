// A distribution over tokens: at a temperature, of the best alone, and what is drawn from it.
import { useSignal } from "@preact/signals";
import { busy, model, served } from "../data";
import { MAX_LISTED } from "../model/look";
import { sum } from "../numbers";
import { Slider } from "../parts";
import { inColumns } from "../state";
import type { Step } from "../wire";
import { percent, say, show } from "../words";
import { Bar, LogScale } from "./bar";
import { Save, csvOf } from "./save";
import { tokenName } from "./tokens";

/** A smaller rest is less than what rounding makes of the sum of the others. */
const KNOWN = 1e-6;

/** `size`: of the vocabulary. `onChoose`: another token can be gone on from. */
export function Distribution(props: {
  step: Step;
  chosen: number;
  title: string;
  size: number;
  onChoose?: (id: number) => void;
}) {
  const { step, onChoose, size } = props;
  const { temperatures } = model.value!;
  const warmth = useSignal(temperatures.indexOf(1));
  const best = useSignal(0);
  const drawn = useSignal<number[]>([]);
  const T = temperatures[warmth.value];
  const [logSum, entropy] = step.tempered[warmth.value];
  const { top } = step;
  const most = Math.min(best.value || top.length, top.length);
  const all = top.map((each) => Math.exp(each.log_prob / T - logSum));
  const kept = best.value ? sum(all.slice(0, most)) : 1;
  const probabilities = all.map((p, k) => (k < most ? p / kept : 0));
  const others = top.length === MAX_LISTED && size > MAX_LISTED; // that can be written
  const rest = best.value || !others ? 0 : Math.max(0, 1 - sum(all));
  const log = useSignal(false);
  const eos = step.eos === null ? null : Math.exp(step.eos / T - logSum);
  const again = () => {
    drawn.value = [];
  };
  const draw = () => {
    let left = Math.random();
    const at = probabilities.findIndex((p) => (left -= p) < 0);
    drawn.value = [...drawn.value, at < 0 ? -1 : top[at].id];
  };
  const last = drawn.value.at(-1);
  const lastDrawn = top.find((each) => each.id === last);
  const count = (id: number) => drawn.value.filter((each) => each === id).length;
  return (
    <>
      <div class="dials">
        <Slider
          title={say("temperature")}
          value={warmth.value}
          most={temperatures.length - 1}
          onMove={(at) => {
            warmth.value = at;
            again();
          }}
          shown={T.toFixed(1)}
        />
        <Slider
          title="top-k"
          value={best.value}
          most={Math.min(10, top.length)}
          onMove={(at) => {
            best.value = at;
            again();
          }}
          shown={best.value ? String(best.value) : say("all")}
        />
        <LogScale on={log} from="1e-6" />
      </div>
      {onChoose && (
        <p>
          {served ? say("go_on_from") : say("needs_server_to_go_on")}{" "}
          <button type="button" onClick={draw}>
            {say("draw")}
          </button>{" "}
          {drawn.value.length > 0 && (
            <span aria-live="polite">
              {say("was_drawn", {
                token: lastDrawn ? tokenName(lastDrawn.id, lastDrawn.piece) : say("rest"),
                n: drawn.value.length,
              })}{" "}
              {lastDrawn && lastDrawn.id !== props.chosen && (
                <button type="button" disabled={!served || busy.value} onClick={() => onChoose(lastDrawn.id)}>
                  {say("go_on_with", { token: tokenName(lastDrawn.id, lastDrawn.piece) })}
                </button>
              )}
            </span>
          )}
        </p>
      )}
      <div class="scroll" tabIndex={0} role="region" aria-label={props.title}>
        <table class="bars">
          <caption>
            {props.title} · {say("voc_size", { n: size })}{" "}
            <Save
              name={props.title}
              svg={null}
              csv={() => csvOf(top.map((each, k) => [tokenName(each.id, each.piece), probabilities[k]]))}
            />
          </caption>
          <tbody>
            {top.map((each, k) => (
              <tr key={each.id} class={`${each.id === props.chosen ? "lit" : ""} ${k < most ? "" : "off"}`}>
                <th scope="row">
                  {onChoose ? (
                    <button
                      type="button"
                      class="link"
                      disabled={!served || busy.value}
                      onClick={() => onChoose(each.id)}
                    >
                      <bdi>{tokenName(each.id, each.piece)}</bdi>
                    </button>
                  ) : (
                    <bdi>{tokenName(each.id, each.piece)}</bdi>
                  )}
                </th>
                <td class="wide">
                  <Bar share={probabilities[k]} log={log.value} />
                </td>
                <td class="number">{show(probabilities[k], 4)}</td>
                <td>{count(each.id) > 0 && `× ${count(each.id)}`}</td>
              </tr>
            ))}
            {others && (
              <tr>
                <th scope="row">
                  <i>{say("rest")}</i>
                </th>
                <td class="wide">
                  <Bar share={rest} log={log.value} rest />
                </td>
                <td class="number">{rest > 0 && rest < KNOWN ? "< 1e-6" : show(rest, 4)}</td>
                <td />
              </tr>
            )}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">{say("sum")}</th>
              <td />
              <td class="number" data-sum>
                {show(
                  probabilities.reduce((a, b) => a + b, rest),
                  4,
                )}
              </td>
              <td />
            </tr>
          </tfoot>
        </table>
      </div>
      <p>
        {say("entropy", { nats: show(entropy) })}
        {eos !== null && ` · ${inColumns() ? "END" : "EOS"} ${percent(eos)}`}
      </p>
    </>
  );
}
