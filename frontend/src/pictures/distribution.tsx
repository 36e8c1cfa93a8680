// A distribution over tokens: at a temperature, of the best alone, and what is drawn from it.
import { type Signal, signal, useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { busy, model, served } from "../data";
import { MAX_LISTED } from "../model/look";
import { sum } from "../numbers";
import { Slider } from "../parts";
import { inColumns } from "../state";
import type { Choice, Step } from "../wire";
import { percent, say, show } from "../words";
import { Bar, LogScale } from "./bar";
import { Save, csvOf } from "./save";
import { tokenName } from "./tokens";

/** A smaller rest is less than what rounding makes of the sum of the others. */
const KNOWN = 1e-6;

type OnChoose = (id: number) => void;

/** `size`: of the vocabulary. `onChoose`: another token can be gone on from. */
export function Distribution(props: { step: Step; chosen: number; title: string; size: number; onChoose?: OnChoose }) {
  const { step, chosen, title, size, onChoose } = props;
  const { temperatures } = model.value!;
  /** The place of the temperature in the model's list. */
  const warmth = useSignal(temperatures.indexOf(1));
  /** How many tokens are kept; 0: all. */
  const topK = useSignal(0);
  const log = useSignal(false);
  const drawn = useMemo(() => signal<(number | null)[]>([]), [step, warmth.value, topK.value]); // from this distribution
  const probability = probabilityAt(step, warmth.value);
  const { listed, rest } = keptOf(step, probability, topK.value, size);
  return (
    <>
      <div class="dials">
        <Slider
          title={say("temperature")}
          value={warmth.value}
          most={temperatures.length - 1}
          onMove={(at) => {
            warmth.value = at;
          }}
          shown={temperatures[warmth.value].toFixed(1)}
        />
        <Slider
          title="top-k"
          value={topK.value}
          most={Math.min(10, step.top.length)}
          onMove={(k) => {
            topK.value = k;
          }}
          shown={topK.value ? String(topK.value) : say("all")}
        />
        <LogScale on={log} from="1e-6" />
      </div>
      {onChoose && <Draw from={step.top} probabilities={listed} drawn={drawn} chosen={chosen} onChoose={onChoose} />}
      <div class="scroll" tabIndex={0} role="region" aria-label={title}>
        <table class="bars">
          <caption>
            {title} · {say("voc_size", { n: size })}{" "}
            <Save
              name={title}
              svg={null}
              csv={() => csvOf(step.top.map(({ id, piece }, k) => [tokenName(id, piece), listed[k]]))}
            />
          </caption>
          <tbody>
            {step.top.map((token, k) => (
              <Row
                key={token.id}
                token={token}
                probability={listed[k]}
                log={log.value}
                state={`${token.id === chosen ? "lit" : ""} ${!topK.value || k < topK.value ? "" : "off"}`}
                times={drawn.value.filter((id) => id === token.id).length}
                onChoose={onChoose}
              />
            ))}
            {rest !== null && <Rest probability={rest} log={log.value} />}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">{say("sum")}</th>
              <td />
              <td class="number" data-sum>
                {show(sum([rest ?? 0, ...listed]), 4)}
              </td>
              <td />
            </tr>
          </tfoot>
        </table>
      </div>
      <p>
        {say("entropy", { nats: show(step.tempered[warmth.value][1]) })}
        {step.eos !== null && ` · ${inColumns() ? "END" : "EOS"} ${percent(probability(step.eos))}`}
      </p>
    </>
  );
}

/** The probability of a token at a temperature, from its log-probability at 1. */
function probabilityAt({ tempered }: Step, warmth: number) {
  const [logSum] = tempered[warmth];
  const temperature = model.value!.temperatures[warmth];
  return (logProb: number) => Math.exp(logProb / temperature - logSum);
}

/** The probabilities of the tokens that are listed, and of all others that can be written; null where there are none. */
function keptOf({ top }: Step, probability: (logProb: number) => number, topK: number, size: number) {
  const all = top.map((each) => probability(each.log_prob));
  const complete = top.length < MAX_LISTED || size <= MAX_LISTED;
  if (!topK) return { listed: all, rest: complete ? null : Math.max(0, 1 - sum(all)) };
  const kept = sum(all.slice(0, topK));
  return { listed: all.map((p, k) => (k < topK ? p / kept : 0)), rest: complete ? null : 0 };
}

/** The button that draws a token, and the one that was drawn last; null: none of those that are listed. */
function Draw(props: {
  from: Choice[];
  probabilities: number[];
  drawn: Signal<(number | null)[]>;
  chosen: number;
  onChoose: OnChoose;
}) {
  const { from, drawn, onChoose } = props;
  const draw = () => {
    let left = Math.random();
    const at = props.probabilities.findIndex((p) => (left -= p) < 0);
    drawn.value = [...drawn.value, from[at]?.id ?? null];
  };
  const last = from.find(({ id }) => id === drawn.value.at(-1));
  const name = last ? tokenName(last.id, last.piece) : say("rest");
  return (
    <p>
      {served ? say("go_on_from") : say("needs_server_to_go_on")}{" "}
      <button type="button" onClick={draw}>
        {say("draw")}
      </button>{" "}
      {drawn.value.length > 0 && (
        <span aria-live="polite">
          {say("was_drawn", { token: name, n: drawn.value.length })}{" "}
          {last && last.id !== props.chosen && (
            <button type="button" disabled={!served || busy.value} onClick={() => onChoose(last.id)}>
              {say("go_on_with", { token: name })}
            </button>
          )}
        </span>
      )}
    </p>
  );
}

/** `times`: how often it was drawn. */
function Row(props: {
  token: Choice;
  probability: number;
  log: boolean;
  state: string;
  times: number;
  onChoose?: OnChoose;
}) {
  const { token, probability, log, times, onChoose } = props;
  const name = <bdi>{tokenName(token.id, token.piece)}</bdi>;
  return (
    <tr class={props.state}>
      <th scope="row">
        {onChoose ? (
          <button type="button" class="link" disabled={!served || busy.value} onClick={() => onChoose(token.id)}>
            {name}
          </button>
        ) : (
          name
        )}
      </th>
      <td class="wide">
        <Bar share={probability} log={log} />
      </td>
      <td class="number">{show(probability, 4)}</td>
      <td>{times > 0 && `× ${times}`}</td>
    </tr>
  );
}

const Rest = ({ probability, log }: { probability: number; log: boolean }) => (
  <tr>
    <th scope="row">
      <i>{say("rest")}</i>
    </th>
    <td class="wide">
      <Bar share={probability} log={log} rest />
    </td>
    <td class="number">{probability > 0 && probability < KNOWN ? "< 1e-6" : show(probability, 4)}</td>
    <td />
  </tr>
);
