// The causal mask: what the token in the middle may see.
import { chosenAt } from "../../attention";
import { hasMask, tokensOf } from "../../data";
import { labels } from "../../pictures/tokens";
import { grouped, quoted } from "../../words";
import { type Content, content } from "../content";

export async function atMask(): Promise<Content> {
  const names = labels(tokensOf("decoder"));
  const n = names.length;
  const i = Math.floor((n - 1) / 2);
  return content(
    { stack: "decoder", layer: 0, kind: "self", ...chosenAt("decoder", i), j: i },
    ["tour_mask_1", { token: quoted(names[i]), seen: i + 1, n }],
    ["tour_mask_2", { hidden: grouped((n * (n - 1)) / 2), of: grouped(n * n) }],
    [hasMask() ? "tour_mask_3" : "tour_mask_none", { n }],
  );
}
