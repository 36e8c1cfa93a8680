// A distribution over tokens.
import { useSignal } from "@preact/signals";
import { busy, model, served } from "../data";
import { Slider } from "../parts";
import type { Step } from "../wire";
import { percent, say } from "../words";
import { tokenName } from "./tokens";

/** A distribution at a temperature: its most probable tokens, one of which was chosen, and the rest. */
export function Distribution(props: { step: Step; chosen: number; title: string; onChoose?: (id: number) => void }) {
  const { step, onChoose } = props;
  const { temperatures } = model.value!;
  const warmth = useSignal(temperatures.indexOf(1));
  const T = temperatures[warmth.value];
  const [logSum, entropy] = step.tempered[warmth.value];
  const probability = (logProb: number | null) => (logProb === null ? 0 : Math.exp(logProb / T - logSum));
  const top = step.top.filter((each) => each.log_prob !== null); // the others are never written
  const probabilities = top.map((each) => probability(each.log_prob));
  const rest = Math.max(0, 1 - probabilities.reduce((a, b) => a + b, 0));
  return (
    <>
      <Slider
        title={say("temperature")}
        value={warmth.value}
        most={temperatures.length - 1}
        onMove={(at) => {
          warmth.value = at;
        }}
        shown={T.toFixed(1)}
      />
      {onChoose && <p>{served ? say("go_on_from") : say("needs_server_to_go_on")}</p>}
      <div class="scroll" tabIndex={0} role="region" aria-label={props.title}>
        <table class="bars">
          <caption>{props.title}</caption>
          <tbody>
            {top.map((each, k) => (
              <tr key={each.id} class={each.id === props.chosen ? "lit" : ""}>
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
                  <span class="bar" style={{ width: `${100 * probabilities[k]}%` }} />
                </td>
                <td class="number">{probabilities[k].toFixed(4)}</td>
              </tr>
            ))}
            <tr>
              <th scope="row">
                <i>{say("rest")}</i>
              </th>
              <td class="wide">
                <span class="bar rest" style={{ width: `${100 * rest}%` }} />
              </td>
              <td class="number">{rest.toFixed(4)}</td>
            </tr>
          </tbody>
        </table>
      </div>
      <p>
        {say("entropy", { nats: entropy.toFixed(3) })}
        {step.eos !== null && ` · ${say("end")} ${percent(probability(step.eos))}`}
      </p>
    </>
  );
}
