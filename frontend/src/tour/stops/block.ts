// One block: the token whose vector is longest at the end of the stack.
import { floats, model, tokensOf } from "../../data";
import { argmax } from "../../numbers";
import { labels } from "../../pictures/tokens";
import { stacks } from "../../state";
import { quoted, say, show } from "../../words";
import { type Content, content } from "../content";

export async function atBlock(): Promise<Content> {
  const { config } = model.value!;
  const [stack] = stacks();
  const { width } = config;
  const pre = config.norm === "pre";
  const tokens = labels(tokensOf(stack));
  const length = async (name: string, at: number) => {
    const values = await floats(`${stack}.${name}`);
    return values ? Math.hypot(...values.subarray(at * width, (at + 1) * width)) : Number.NaN;
  };
  const layers = config[`${stack}_layers`];
  const last = `${layers - 1}.feed_forward.${pre ? "residual" : "norm"}`;
  const lengths = await Promise.all(tokens.map((_, k) => length(last, k)));
  const i = argmax(lengths.length, (k) => lengths[k]);
  const shown = async (name: string) => show(await length(name, i), 1);
  return content(
    { stack, layer: 0, i },
    ["tour_block_1", { inner: config.feed_forward, width, mixer: say(`mixer_${config[`${stack}_mixer`]}`) }],
    ["tour_block_2", { token: quoted(tokens[i]), before: await shown("input"), after: show(lengths[i], 1), layers }],
    [
      pre ? "tour_block_pre" : "tour_block_post",
      { token: quoted(tokens[i]), norm: say(`norm_${config.norm_kind}`), length: await shown("0.self.norm") },
    ],
  );
}
