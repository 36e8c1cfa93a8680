// What happens at a moment of the running picture, in words.
import { model, positionsOf, tokensOf, trace, writes } from "../data";
import { labels } from "../pictures/tokens";
import { selection, stacks } from "../state";
import { type Word, percent, quoted, say, show } from "../words";
import { isMissing, masked, title } from "./parts";
import type { Scene, Weights } from "./scene";
import { type Moment, towerOf } from "./time";

/** What a query takes most from: the head, the key and the weight. */
function strongest(weights: Weights, query: number, off: (head: number) => boolean) {
  let best = { head: 0, key: 0, weight: 0 };
  for (let head = 0; head < weights.heads; head++)
    for (let key = 0; key < weights.keys; key++) {
      const weight = (weights.roots[(head * weights.queries + query) * weights.keys + key] / 255) ** 2;
      if (weight > best.weight && !off(head)) best = { head, key, weight };
    }
  return best;
}

/** What happens at a moment, in one sentence with this model's numbers. */
export function narration(scene: Scene, now: Moment): string {
  const { config } = model.value!;
  const { pass } = now;
  const tower = towerOf(scene.plan, pass);
  const row = tower.rows[now.row];
  const t = writes() ? pass.t : scene.label;
  const tokens = labels(tokensOf(tower.stack));
  const where =
    t === null
      ? say("encoder")
      : writes()
        ? say("whole_step", { t: t + 1, of: scene.answers.length })
        : say(stacks()[0]);
  const block = row.layer === null ? "" : say("whole_block", { layer: row.layer });
  const comma = selection.value.lang === "zh" ? "，" : ", ";
  const sentence = (key: Word, values: Record<string, string | number> = {}) =>
    [where, block, say(key, values)].filter(Boolean).join(comma);
  if (now.stage === "back")
    return t === null
      ? sentence("narration_memory")
      : t + 1 < scene.answers.length
        ? sentence("narration_back", { token: quoted(scene.answers[t]) })
        : say("narration_end", { answer: quoted(trace.value!.output) });
  if (now.stage === "answer") {
    const [first, second] = scene.top[t ?? 0];
    return sentence("narration_answer", {
      token: quoted(scene.answers[t ?? 0]),
      first: quoted(first.text),
      p: show(first.p, 4),
      second: second ? quoted(second.text) : "–",
      q: second ? show(second.p, 4) : "0",
    });
  }
  const token = quoted(tokens[pass.last]);
  if (isMissing(row)) return sentence("narration_missing", { part: title(row, tower.stack) });
  switch (row.part) {
    case "embedding":
      return sentence(pass.last > pass.first ? "narration_embeddings" : "narration_embedding", {
        width: config.width,
        token,
        n: pass.last - pass.first + 1,
      });
    case "positions":
      return sentence("narration_positions", { how: say(`positions_${positionsOf(config)}`) });
    case "norm":
      return sentence("narration_norm", { norm: say(`norm_${config.norm_kind}`) });
    case "add":
    case "add_norm":
      return sentence("narration_add");
    case "feed_forward":
      return sentence("narration_feed_forward", { width: config.width, inner: config.feed_forward });
    case "output":
      return sentence(writes() ? "narration_output" : "narration_labels");
    default: {
      const name = row.name.replace(/\.output$/, ""),
        weights = scene.weights.get(name);
      if (!weights)
        return sentence(config[`${tower.stack}_mixer`] === "attention" ? "narration_self" : "narration_mixer", {
          mixer: title(row, tower.stack),
        });
      const best = strongest(weights, pass.last, (each) => scene.off.has(`${name} ${each}`));
      const key = quoted(labels(tokensOf(row.part === "cross" ? "encoder" : tower.stack))[best.key]);
      if (pass.last > pass.first) return sentence("narration_self");
      return sentence(row.part === "cross" ? "narration_cross" : masked() ? "narration_masked" : "narration_unmasked", {
        token,
        key,
        head: best.head,
        share: percent(best.weight),
      });
    }
  }
}
