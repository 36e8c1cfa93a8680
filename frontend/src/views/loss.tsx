// The loss at each position, and why it is what it is.
import { useSignal } from "@preact/signals";
import { atStep, stepOf } from "../attention";
import { css, dark, inkOn, signedColour } from "../colours";
import { asked, model, source, trace, writes } from "../data";
import { mean, sum } from "../numbers";
import { Formula, Missing, Outcome } from "../parts";
import { Bar, LogScale } from "../pictures/bar";
import { largest } from "../pictures/canvas";
import { HeadMap } from "../pictures/headmap";
import { Legend } from "../pictures/legend";
import { labels, tokenName } from "../pictures/tokens";
import { inColumns, select } from "../state";
import { useAnswer } from "../use";
import type { Replay } from "../wire";
import { brief, join, percent, say, show } from "../words";
import { labelled } from "./labels";
import "./loss.css";

type Whose = "reference" | "own";

/** −log p of each token and its rank, with sum and mean. A row opens what it is due to. */
function Losses(props: {
  whose: Whose;
  of: Replay;
  most: number;
  log: boolean;
  open: Whose;
  onOpen: (k: number) => void;
}) {
  const { losses, smoothed, ranks, target_out } = props.of;
  const { smoothing } = model.value!;
  const text = writes(),
    own = props.whose === "own";
  const title = say(own ? (text ? "own_prefix" : "own_labels") : text ? "reference" : "reference_labels");
  const token = say(own ? (text ? "own_token" : "label") : text ? "right_token" : "right_label");
  const t = stepOf(losses.length);
  const foot = (name: string, total: (values: number[]) => number, marked: object) => (
    <tr>
      <th scope="row">{name}</th>
      <td />
      <td class="number" {...marked}>
        {show(total(losses), 4)}
      </td>
      <td />
      {smoothing > 0 && <td class="number">{show(total(smoothed), 4)}</td>}
    </tr>
  );
  return (
    <section class="losses">
      <h3>{title}</h3>
      {text && (
        <p class="explain">
          {say(trace.value!.what_if.mask_lifted ? "mask_sees_answer" : own ? "own_given" : "reference_given")}
        </p>
      )}
      <div class="scroll" tabIndex={0} role="region" aria-label={title}>
        <table class="bars">
          <thead>
            <tr>
              <th scope="col">{token}</th>
              <th scope="col" colSpan={2}>
                −log p
              </th>
              <th scope="col">{say("rank")}</th>
              {smoothing > 0 && <th scope="col">{say("smoothed", { share: smoothing })}</th>}
            </tr>
          </thead>
          <tbody>
            {labels(target_out).map((name, k) => (
              <tr
                key={k}
                class={`choice ${ranks[k] ? "astray" : ""} ${k === t && props.open === props.whose ? "lit" : ""}`}
                onClick={() => props.onOpen(k)}
              >
                <th scope="row">
                  <button type="button" class="link" aria-expanded={k === t && props.open === props.whose}>
                    {!text && target_out.ids.length > 1 && (
                      <>
                        <bdi>{labelled()[k]}</bdi> →{" "}
                      </>
                    )}
                    <bdi>{name}</bdi>
                  </button>
                </th>
                <td class="wide">
                  <Bar share={losses[k] / props.most} log={props.log} />
                </td>
                <td class="number">{show(losses[k], 4)}</td>
                <td class="number">{ranks[k] + 1}</td>
                {smoothing > 0 && <td class="number">{show(smoothed[k], 4)}</td>}
              </tr>
            ))}
          </tbody>
          <tfoot>
            {foot(say("sum"), sum, {})}
            {foot(say("mean"), mean, { "data-mean": mean(losses) })}
          </tfoot>
        </table>
      </div>
    </section>
  );
}

/** Each token of the source, coloured by what hiding it does to the loss. */
function Hidden(props: { changes: number[] }) {
  const most = largest(props.changes);
  const shade = (k: number) => signedColour(props.changes[k] / most);
  return (
    <>
      <p class="tokens" data-dark={dark.value}>
        {labels(trace.value!.source)
          .slice(0, props.changes.length)
          .map((name, k) => (
            <span class="token" key={k} style={{ background: css(shade(k)), color: inkOn(shade(k)) }}>
              <bdi>{name}</bdi>
              <span class="small">
                {props.changes[k] > 0 && "+"}
                {brief(props.changes[k])}
              </span>
            </span>
          ))}
      </p>
      <Legend most={most} />
    </>
  );
}

/** What was wanted instead at one position, what the heads do for its token, and what each token of the source does. */
function Why(props: { of: Replay; reference: boolean }) {
  const { losses, ranks, steps, target_out } = props.of;
  const t = stepOf(losses.length);
  const { reference } = props;
  const kind = writes() ? "" : "_label";
  const heads = useAnswer(source.heads, asked.value, t, reference);
  const hidden = useAnswer(source.occlusion, asked.value, t, reference);
  const right = { id: target_out.ids[t], name: labels(target_out)[t], share: Math.exp(-losses[t]) };
  const { top, allowed } = steps[t];
  const wanted = top.slice(0, 5).map(({ id, piece, log_prob }) => ({
    id,
    name: tokenName(id, piece),
    share: Math.exp(log_prob + allowed),
  }));
  const listed = wanted.some(({ id }) => id === right.id) ? wanted : [...wanted, right];
  return (
    <section class="why" aria-live="polite">
      <h3>{say(`why${kind}`, { token: right.name, step: t + 1 })}</h3>
      <p>
        {right.id === wanted[0].id
          ? say("why_first", { token: right.name, share: percent(right.share) })
          : say(`why_astray${kind}`, {
              token: right.name,
              rank: ranks[t] + 1,
              share: percent(right.share),
              wanted: wanted[0].name,
              instead: percent(wanted[0].share),
            })}
      </p>
      <div class="scroll" tabIndex={0} role="region" aria-label={say(`wanted${kind}`)}>
        <table class="bars">
          <caption>{say(`wanted${kind}`)}</caption>
          <thead>
            <tr>
              <td />
              <th scope="col" colSpan={2}>
                p
              </th>
              <th scope="col" class="number">
                one-hot
              </th>
            </tr>
          </thead>
          <tbody>
            {listed.map(({ id, name, share }) => (
              <tr key={id} class={id === right.id ? "lit" : ""}>
                <th scope="row">
                  <bdi>{name}</bdi>
                </th>
                <td class="wide">
                  <Bar share={share} />
                </td>
                <td class="number">{show(share, 4)}</td>
                <td class="number">{id === right.id ? 1 : 0}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="explain">{say("one_hot")}</p>
      <p class="explain">{say(`whole_vocabulary${kind}`)}</p>
      {writes() && (
        <p>
          <button type="button" onClick={() => select({ view: "step", ...atStep(t) })}>
            {say("open_step")}
          </button>
        </p>
      )}
      <h4>{say("hidden_tokens")}</h4>
      {hidden ? <Hidden changes={hidden} /> : <Missing>{hidden === null ? say("needs_model") : "…"}</Missing>}
      <h4>{say("heads_off_one_by_one")}</h4>
      {heads ? (
        <HeadMap effects={heads} title={say("delta_loss", { token: right.name })} />
      ) : (
        <Missing>{heads === null ? say("needs_model") : "…"}</Missing>
      )}
    </section>
  );
}

export function Loss() {
  const { reference, replay } = trace.value!;
  const all = [...replay.losses, ...(reference?.losses ?? [])];
  const most = Math.max(...all, 0.1);
  const log = useSignal(false);
  const open = useSignal<Whose>(reference ? "reference" : "own");
  const text = writes(),
    variant = !text ? "labels" : inColumns() ? "sum" : "";
  const whose = reference ? open.value : "own";
  const shown = { most, log: log.value, open: whose };
  const onOpen = (which: Whose) => (t: number) => {
    open.value = which;
    select(text ? atStep(t) : { t });
  };
  const { smoothing } = model.value!;
  const chosen = whose === "reference" ? reference! : replay;
  return (
    <>
      <Outcome />
      {!trace.value!.what_if.mask_lifted && <Formula name="loss" variant={variant} />}
      {smoothing > 0 && <Formula name="loss.smoothed" variant={variant} />}
      <LogScale on={log} from="1e-6" />
      {text && <p>{join([say("row_opens"), say(inColumns() ? "loss_is_sum" : "loss_is_mean")])}</p>}
      {!reference && <p>{say("give_reference")}</p>}
      <div class="pair">
        {reference && <Losses whose="reference" of={reference} {...shown} onOpen={onOpen("reference")} />}
        <Losses whose="own" of={replay} {...shown} onOpen={onOpen("own")} />
      </div>
      <Why of={chosen} reference={whose === "reference"} />
    </>
  );
}
