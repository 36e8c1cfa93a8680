// The heads: the one that looks back most, and the one whose weights are broadest.
import { hasMask, model } from "../../data";
import { indices, mean, sum } from "../../numbers";
import { headName } from "../../parts";
import { stacks } from "../../state";
import { percent, say, show } from "../../words";
import { type Content, content } from "../content";
import { allWeights, best, selecting, type Weights } from "../weights";

export async function atHeads(): Promise<Content> {
  const { config } = model.value!;
  const [stack] = stacks();
  const all = await allWeights(stack, "self");
  // Under a causal mask every head looks back: they differ in how close.
  const causal = stack === "decoder" && hasMask();
  const before = (of: Weights, head: number, i: number) =>
    causal ? of.at(head, i, i - 1) : sum(indices(i).map((j) => of.at(head, i, j)));
  const back = best(all, (of, head) => mean(indices(of.queries - 1).map((k) => before(of, head, k + 1))))!;
  const broad = best(all, (of, head) =>
    mean(indices(of.queries).map((i) => entropy(indices(of.keys).map((j) => of.at(head, i, j))))),
  )!;
  const layers = config[`${stack}_layers`];
  return content(
    { ...selecting(back.of.name), head: back.head },
    ["tour_heads_1", { layers, heads: config.heads, total: layers * config.heads, stack: say(stack) }],
    [
      causal ? "tour_heads_previous" : "tour_heads_2",
      { head: headName(back.of.name, back.head), share: percent(back.value) },
    ],
    [
      "tour_heads_3",
      { head: headName(broad.of.name, broad.head), nats: show(broad.value, 2), most: show(Math.log(broad.of.keys), 2) },
    ],
  );
}

const entropy = (shares: number[]) => shares.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0);
