// Cross-attention: the head in which an alignment is best seen, and its largest weight.
import { trace } from "../../data";
import { argmax, indices, mean } from "../../numbers";
import { headName } from "../../parts";
import { labels } from "../../pictures/tokens";
import { percent, quoted } from "../../words";
import { type Content, content } from "../content";
import { allWeights, best, selecting, type Weights } from "../weights";

export async function atCross(): Promise<Content> {
  const now = trace.value!;
  const [answers, names] = [labels(now.replay.target_out), labels(now.source)];
  const peak = (of: Weights, head: number, t: number) => argmax(of.keys, (j) => of.at(head, t, j));
  const largest = (of: Weights, head: number, t: number) => of.at(head, t, peak(of, head, t));
  const distinct = (of: Weights, head: number) => new Set(indices(of.queries).map((t) => peak(of, head, t))).size;
  const found = best(
    await allWeights("decoder", "cross"),
    (of, head) => (distinct(of, head) / of.queries) * mean(indices(of.queries).map((t) => largest(of, head, t))),
  );
  if (!found) return content({}, ["tour_cross_1", { n: names.length }]);
  const { of, head } = found;
  const t = argmax(of.queries, (each) => largest(of, head, each));
  const j = peak(of, head, t);
  return content(
    { ...selecting(of.name), head, i: t, t, j },
    ["tour_cross_1", { n: names.length }],
    [
      "tour_cross_2",
      {
        head: headName(of.name, head),
        token: quoted(answers[t]),
        source: quoted(names[j]),
        share: percent(largest(of, head, t)),
      },
    ],
    ["tour_cross_3", { distinct: distinct(of, head), steps: of.queries, n: names.length }],
  );
}
