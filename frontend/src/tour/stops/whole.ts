// The whole model: what it is, what it answers, and where it is least sure.
import { model, trace } from "../../data";
import { stacks } from "../../state";
import { grouped, quoted } from "../../words";
import { type Content, content } from "../content";
import { leastSure } from "../least-sure";

export async function atWhole(): Promise<Content> {
  const now = trace.value!;
  const { parameters, config } = model.value!;
  const { t, first, p, second, q } = leastSure();
  const steps = now.replay.target_out.ids.length;
  const layers = stacks().map((stack) => config[`${stack}_layers`]);
  return content(
    { t },
    ["tour_whole_1", { n: grouped(parameters), layers: layers.join(" + "), heads: config.heads, width: config.width }],
    ["tour_whole_2", { text: quoted(now.text), n: now.source.ids.length, output: quoted(now.output), steps }],
    ["tour_whole_3", { t: t + 1, first, p, second, q }],
  );
}
