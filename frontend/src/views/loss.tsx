// The loss at each position.
import { mean, model, trace, writes } from "../data";
import { Formula } from "../parts";
import { labels } from "../pictures/tokens";
import type { Replay } from "../wire";
import { say, show } from "../words";
import { labelled } from "./labels";

/** −log p of each token, its rank, and the mean; the longest bar is `most`. */
function Losses(props: { title: string; token: string; of: Replay; most: number }) {
  const { losses, smoothed, ranks, target_out } = props.of;
  return (
    <>
      <h3>{props.title}</h3>
      <div class="scroll" tabIndex={0} role="region" aria-label={props.title}>
        <table class="bars">
          <thead>
            <tr>
              <th scope="col">{props.token}</th>
              <th scope="col" colSpan={2}>
                −log p
              </th>
              <th scope="col">{say("rank")}</th>
              <th scope="col">{say("smoothed", { share: model.value!.smoothing })}</th>
            </tr>
          </thead>
          <tbody>
            {labels(target_out).map((name, k) => (
              <tr key={k} class={ranks[k] ? "astray" : ""}>
                <th scope="row">
                  {!writes() && (
                    <>
                      <bdi>{labelled()[k]}</bdi> →{" "}
                    </>
                  )}
                  <bdi>{name}</bdi>
                </th>
                <td class="wide">
                  <span class="bar" style={{ width: `${(100 * losses[k]) / props.most}%` }} />
                </td>
                <td class="number">{show(losses[k], 4)}</td>
                <td class="number">{ranks[k] + 1}</td>
                <td class="number">{show(smoothed[k], 4)}</td>
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">{say("mean")}</th>
              <td />
              <td class="number" data-mean={mean(losses)}>
                {show(mean(losses), 4)}
              </td>
              <td />
              <td class="number">{show(mean(smoothed), 4)}</td>
            </tr>
          </tfoot>
        </table>
      </div>
    </>
  );
}

export function Loss() {
  const { reference, replay } = trace.value!;
  const most = Math.max(...replay.losses, ...(reference?.losses ?? []), 0.1);
  const text = writes(),
    variant = text ? "" : "labels";
  return (
    <>
      <Formula name="loss" variant={variant} />
      <Formula name="loss.smoothed" variant={variant} />
      {reference ? (
        <Losses
          title={say(text ? "reference" : "reference_labels")}
          token={say(text ? "right_token" : "right_label")}
          of={reference}
          most={most}
        />
      ) : (
        <p>{say("give_reference")}</p>
      )}
      <Losses
        title={say(text ? "own_prefix" : "own_labels")}
        token={say(text ? "own_token" : "label")}
        of={replay}
        most={most}
      />
    </>
  );
}
