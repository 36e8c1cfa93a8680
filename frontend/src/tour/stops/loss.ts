// The loss, and the token that it is largest at.
import { trace, writes } from "../../data";
import { argmax, mean, sum } from "../../numbers";
import { labels } from "../../pictures/tokens";
import { quoted, show } from "../../words";
import { type Content, content } from "../content";

export async function atLoss(): Promise<Content> {
  const { reference, replay } = trace.value!;
  const { losses, target_out } = reference ?? replay;
  const names = labels(target_out);
  const worst = argmax(losses.length, (k) => losses[k]);
  const last = losses.length - 1;
  return content(
    { t: worst },
    [
      reference ? "tour_loss_1" : "tour_loss_own",
      { sum: show(sum(losses), 4), mean: show(mean(losses), 4), n: losses.length },
    ],
    [
      "tour_loss_2",
      { token: quoted(names[worst]), loss: show(losses[worst], 4), p: show(Math.exp(-losses[worst]), 4) },
    ],
    writes() && ["tour_loss_3", { token: names[last], p: show(Math.exp(-losses[last]), 4) }],
  );
}
