// The loss at each position, and why it is what it is.
import { useSignal } from "@preact/signals";
import { atStep } from "../../attention";
import { model, trace, writes } from "../../data";
import { Formula, Outcome } from "../../parts";
import { LogScale } from "../../pictures/bar";
import { inColumns, select } from "../../state";
import { join, say } from "../../words";
import "./loss.css";
import { Losses, type Whose } from "./losses";
import { Why } from "./why";

export function Loss() {
  const { reference, replay, what_if } = trace.value!;
  const log = useSignal(false);
  const chosen = useSignal<Whose>(reference ? "reference" : "own");
  const text = writes();
  const variant = !text ? "labels" : inColumns() ? "sum" : "";
  const open = reference ? chosen.value : "own";
  const shared = {
    most: Math.max(...replay.losses, ...(reference?.losses ?? []), 0.1),
    log: log.value,
    open,
    onOpen: (whose: Whose, t: number) => {
      chosen.value = whose;
      select(text ? atStep(t) : { t });
    },
  };
  return (
    <>
      <Outcome />
      {!what_if.mask_lifted && <Formula name="loss" variant={variant} />}
      {model.value!.smoothing > 0 && <Formula name="loss.smoothed" variant={variant} />}
      <LogScale on={log} from="1e-6" />
      {text && <p>{join([say("row_opens"), say(inColumns() ? "loss_is_sum" : "loss_is_mean")])}</p>}
      {!reference && <p>{say("give_reference")}</p>}
      <div class="pair">
        {reference && <Losses whose="reference" of={reference} {...shared} />}
        <Losses whose="own" of={replay} {...shared} />
      </div>
      <Why of={open === "reference" ? reference! : replay} reference={open === "reference"} />
    </>
  );
}
