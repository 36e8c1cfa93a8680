// One query: the largest weight between two tokens of the first layer.
import { headWidth } from "../../attention";
import { floats, tokensOf } from "../../data";
import { indices } from "../../numbers";
import { labels } from "../../pictures/tokens";
import { stacks } from "../../state";
import { percent, quoted, show } from "../../words";
import { type Content, content } from "../content";
import { weightsOf } from "../weights";

export async function atQuery(): Promise<Content> {
  const [stack] = stacks();
  const names = labels(tokensOf(stack));
  const weights = (await weightsOf(`${stack}.0.self`))!;
  const scores = await floats(`${stack}.0.self.scores`);
  const bias = await floats(`${stack}.0.self.bias`);
  // Between words: the last token ends the sentence.
  let most = { head: 0, i: 0, j: 0, share: 0 };
  for (const head of indices(weights.heads))
    for (const i of indices(weights.queries - 1))
      for (const j of indices(weights.keys - 1)) {
        const share = weights.at(head, i, j);
        if (i !== j && share > most.share) most = { head, i, j, share };
      }
  const at = (most.head * weights.queries + most.i) * weights.keys + most.j;
  const values = {
    i: quoted(names[most.i]),
    j: quoted(names[most.j]),
    head: most.head,
    share: percent(most.share),
    d: headWidth(),
    n: names.length,
    score: scores ? show(scores[at] + (bias?.[at] ?? 0), 2) : "…",
  };
  return content(
    { stack, layer: 0, kind: "self", head: most.head, i: most.i, j: most.j },
    ["tour_query_1", values],
    ["tour_query_2", values],
    ["tour_query_3", values],
  );
}
