// What vectors pass through in a stack, from below to above: parts that compute, and the places between them.
import type { Stack } from "../state";
import type { Architecture } from "../wire";

export type Part =
  "embedding" | "positions" | "norm" | "self" | "cross" | "feed_forward" | "add" | "add_norm" | "output";

export interface Row {
  /** A part that computes, or the place where what leaves it is seen. */
  kind: "box" | "lane";
  part: Part;
  layer: number | null;
  /** The canonical name of what leaves here; "" where nothing of that name is recorded. */
  name: string;
  /** The model was trained without it. */
  missing: boolean;
  /** In units, of which the picture has as many to a pixel as fit. */
  height: number;
}

/** With more layers than this, only the residual stream is seen. */
const DETAILED = 3;

const BOX: Record<Part, number> = {
  embedding: 22,
  positions: 16,
  norm: 13,
  self: 54,
  cross: 44,
  feed_forward: 30,
  add: 11,
  add_norm: 15,
  output: 24,
};
const [STREAM, INNER] = [20, 9];

const box = (part: Part, layer: number | null, name: string, missing = false): Row => ({
  kind: "box",
  part,
  layer,
  name,
  missing,
  height: BOX[part],
});

const lane = (part: Part, layer: number | null, name: string, height = STREAM): Row => ({
  kind: "lane",
  part,
  layer,
  name,
  missing: false,
  height,
});

/** The rows of a stack, from below to above. */
export function rowsOf(config: Architecture, stack: Stack): Row[] {
  const layers = Array.from({ length: config[`${stack}_layers`] }, (_, layer) => layer);
  const without = new Set<string>(config.without);
  const kinds = stack === "decoder" && config.shape === "encoder-decoder" ? SUBLAYERS.decoder : SUBLAYERS.others;
  const added = ["sinusoidal", "tensor2tensor", "learned"].includes(config.positions) || without.has("positions");
  const once = (part: Part, name: string) => [
    box(part, null, `${stack}.${name}`, without.has(part)),
    lane(part, null, `${stack}.${name}`),
  ];
  const answers = stack === "decoder" || config.shape === "encoder";
  return [
    ...once("embedding", "embedding"),
    ...(added ? once("positions", "input") : []),
    ...(config.embedding_norm ? once("norm", "input") : []),
    ...layers.flatMap((layer) => kinds.flatMap((kind) => sublayer(config, stack, layer, kind))),
    ...(config.final_norm ? once("norm", "output") : []),
    ...(answers ? [box("output", null, "logits")] : []),
  ];
}

type Sublayer = "self" | "cross" | "feed_forward";

const SUBLAYERS = {
  decoder: ["self", "cross", "feed_forward"],
  others: ["self", "feed_forward"],
} satisfies Record<string, Sublayer[]>;

/** A sublayer with its normalisation and its residual connection. */
function sublayer(config: Architecture, stack: Stack, layer: number, part: Sublayer): Row[] {
  const without = new Set<string>(config.without);
  const detailed = Math.max(config.encoder_layers, config.decoder_layers) <= DETAILED;
  const name = `${stack}.${layer}.${part}`;
  const inner = (part: Part, name: string) => (detailed ? [lane(part, layer, name, INNER)] : []);
  const computed = [
    box(part, layer, `${name}.output`, part === "cross" && without.has("cross")),
    ...inner(part, `${name}.output`),
  ];
  if (config.norm === "pre")
    return [
      box("norm", layer, `${name}.norm`, without.has("norm")),
      ...inner("norm", `${name}.norm`),
      ...computed,
      box("add", layer, `${name}.residual`, without.has("residual")),
      lane("add", layer, `${name}.residual`),
    ];
  return [
    ...computed,
    box("add_norm", layer, `${name}.norm`, without.has("residual") || without.has("norm")),
    lane("add_norm", layer, `${name}.norm`),
  ];
}
