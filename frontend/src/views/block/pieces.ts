// What a block is made of, as the paper draws it from below to above.
import { model } from "../../data";
import { hasCross, type Stack } from "../../state";
import { say } from "../../words";

export type Sublayer = "self" | "cross" | "feed_forward";

/** A value on a wire, a box that makes the next one, or the place where the residual is added. */
export type Piece =
  | { is: "wire"; name: string; title: string }
  | { is: "box"; kind: Sublayer | "norm"; title: string }
  /** `from`: the wire that it adds. */
  | { is: "plus"; from: number };

/** The block from its input upwards; `entering`: the canonical name of that. */
export function pieces(stack: Stack, layer: number, entering: string): Piece[] {
  const { norm, norm_kind } = model.value!.config;
  const kinds: Sublayer[] =
    stack === "decoder" && hasCross() ? ["self", "cross", "feed_forward"] : ["self", "feed_forward"];
  const found: Piece[] = [{ is: "wire", name: entering, title: "x" }];
  for (const kind of kinds) {
    const at = (part: string) => `${stack}.${layer}.${kind}.${part}`;
    const title = titleOf(stack, kind);
    const from = found.length - 1;
    const normed: Piece[] = [
      { is: "box", kind: "norm", title: say(`norm_${norm_kind}`) },
      { is: "wire", name: at("norm"), title: say("norm") },
    ];
    if (norm === "pre") found.push(...normed);
    found.push({ is: "box", kind, title }, { is: "wire", name: at("output"), title });
    found.push({ is: "plus", from }, { is: "wire", name: at("residual"), title: "+" });
    if (norm === "post") found.push(...normed);
  }
  return found;
}

function titleOf(stack: Stack, kind: Sublayer): string {
  const mixer = model.value!.config[`${stack}_mixer`];
  if (kind !== "self") return say(kind);
  return say(mixer !== "attention" ? `mixer_${mixer}` : stack === "decoder" ? "masked_self" : "self");
}
