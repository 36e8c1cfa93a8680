// −log p of each token and its rank, with sum and mean.
import { stepOf } from "../../attention";
import { model, trace, writes } from "../../data";
import { mean, sum } from "../../numbers";
import { Bar } from "../../pictures/bar";
import { labels } from "../../pictures/tokens";
import type { Replay } from "../../wire";
import { say, show } from "../../words";
import { labelled } from "../labels";

export type Whose = "reference" | "own";

/** What a table and its first column are called. */
const TITLES = {
  reference: {
    text: ["reference", "right_token"],
    labels: ["reference_labels", "right_label"],
  },
  own: {
    text: ["own_prefix", "own_token"],
    labels: ["own_labels", "label"],
  },
} as const;

/** `most`: the loss with the longest bar. A row opens what its loss is due to; `open`: of which table one is open. */
export function Losses(props: {
  whose: Whose;
  of: Replay;
  most: number;
  log: boolean;
  open: Whose;
  onOpen: (whose: Whose, t: number) => void;
}) {
  const { whose, of, most, log } = props;
  const { smoothing } = model.value!;
  const t = props.open === whose ? stepOf(of.losses.length) : null;
  const [title, token] = TITLES[whose][writes() ? "text" : "labels"];
  return (
    <section class="losses">
      <h3>{say(title)}</h3>
      {writes() && (
        <p class="explain">{say(trace.value!.what_if.mask_lifted ? "mask_sees_answer" : `${whose}_given`)}</p>
      )}
      <div class="scroll" tabIndex={0} role="region" aria-label={say(title)}>
        <table class="bars">
          <thead>
            <tr>
              <th scope="col">{say(token)}</th>
              <th scope="col" colSpan={2}>
                −log p
              </th>
              <th scope="col">{say("rank")}</th>
              {smoothing > 0 && <th scope="col">{say("smoothed", { share: smoothing })}</th>}
            </tr>
          </thead>
          <tbody>
            {of.losses.map((_, k) => (
              <Row key={k} of={of} at={k} open={k === t} most={most} log={log} onOpen={() => props.onOpen(whose, k)} />
            ))}
          </tbody>
          <tfoot>
            <Total of={of} by="sum" />
            <Total of={of} by="mean" />
          </tfoot>
        </table>
      </div>
    </section>
  );
}

function Row(props: { of: Replay; at: number; open: boolean; most: number; log: boolean; onOpen: () => void }) {
  const { at, open } = props;
  const { losses, smoothed, ranks, target_out } = props.of;
  return (
    <tr class={`choice ${ranks[at] ? "astray" : ""} ${open ? "lit" : ""}`} onClick={props.onOpen}>
      <th scope="row">
        <button type="button" class="link" aria-expanded={open}>
          {!writes() && losses.length > 1 && (
            <>
              <bdi>{labelled()[at]}</bdi> →{" "}
            </>
          )}
          <bdi>{labels(target_out)[at]}</bdi>
        </button>
      </th>
      <td class="wide">
        <Bar share={losses[at] / props.most} log={props.log} />
      </td>
      <td class="number">{show(losses[at], 4)}</td>
      <td class="number">{ranks[at] + 1}</td>
      {model.value!.smoothing > 0 && <td class="number">{show(smoothed[at], 4)}</td>}
    </tr>
  );
}

const TOTALS = { sum, mean };

function Total({ of: { losses, smoothed }, by }: { of: Replay; by: keyof typeof TOTALS }) {
  const total = TOTALS[by];
  return (
    <tr>
      <th scope="row">{say(by)}</th>
      <td />
      <td class="number" data-mean={by === "mean" ? mean(losses) : undefined}>
        {show(total(losses), 4)}
      </td>
      <td />
      {model.value!.smoothing > 0 && <td class="number">{show(total(smoothed), 4)}</td>}
    </tr>
  );
}
