// The parts of the picture in words: what they are called, what they lack, and which view shows them.
import { hasMask, model, positionsOf, trace, writes } from "../data";
import type { Stack } from "../state";
import { type Word, say } from "../words";
import type { Part, Row } from "./rows";

export const masked = () => hasMask() && !trace.value!.what_if.mask_lifted;

/** The part of a stack in the words of the page. */
export function title(row: { part: Part; missing: boolean }, stack: Stack): string {
  const { config } = model.value!;
  if (row.part === "self") {
    const mixer = config[`${stack}_mixer`];
    if (mixer !== "attention") return say(`mixer_${mixer}`);
    return say(stack === "decoder" && masked() ? "whole_masked" : "whole_self");
  }
  const names: Record<Exclude<Part, "self">, Word> = {
    embedding: "whole_embedding",
    positions: "positions_word",
    norm: "norm",
    cross: "whole_cross",
    feed_forward: "feed_forward",
    add: "whole_add",
    add_norm: "whole_add_norm",
    output: writes() ? "whole_output" : "whole_labels",
  };
  return say(names[row.part]);
}

/** Whether a part is missing: from the model, or only while one looks. */
export const isMissing = (row: Row) => row.missing || (row.part === "positions" && trace.value!.what_if.positions_off);

/** The view that shows a part. */
export function viewOf(row: Row, stack: Stack): Record<string, string | number> {
  const layer = row.layer ?? 0;
  switch (row.part) {
    case "embedding":
      return { view: "input" };
    case "positions":
      return { view: "positions" };
    case "self":
      return { view: "heads", stack, layer, kind: "self" };
    case "cross":
      return { view: "cross", stack, layer, kind: "cross" };
    case "output":
      return { view: writes() ? "step" : "labels" };
    default:
      return { view: "block", stack, layer };
  }
}

/** Whether a part of a block is attention, and not another mixer in its place. */
const isAttention = (row: Row) => row.part === "cross" || model.value!.config[`${stackOf(row)}_mixer`] === "attention";
const stackOf = (row: Row): Stack => (row.name.startsWith("decoder") ? "decoder" : "encoder");

/** The kind of positions that are a matter of this self-attention, and not added before it. */
const isInside = (row: Row) =>
  row.part === "self" && isAttention(row)
    ? (["rotary", "alibi", "relative"] as const).find((kind) => kind === model.value!.config.positions)
    : undefined;

/** What a part lacks: from the model, or only while one looks. */
export function lacks(row: Row): Word[] {
  const { config } = model.value!,
    { positions_off } = trace.value!.what_if;
  if (row.part === "output") return config.without.includes("end") ? ["whole_no_end"] : [];
  if (row.part !== "self" && row.part !== "cross") return [];
  const lost = positionsOf(config) === "none" || positions_off;
  return [
    ...(isInside(row) && lost ? (["whole_no_positions"] as const) : []),
    ...(row.name.startsWith("decoder") && row.part === "self" && !masked() ? (["whole_no_mask"] as const) : []),
    ...(isAttention(row) && config.without.includes("scaling") ? (["whole_no_scaling"] as const) : []),
  ];
}

/** What the input of the decoder lacked in training. */
export const unframed = () =>
  (["begin", "shift"] as const).filter((part) => model.value!.config.without.includes(part));

/** What more there is to say of a part: what it lacks, or positions that are not added. */
export function remark(row: Row): string {
  const lacking = lacks(row);
  if (lacking.length) return lacking.map((word) => say(word)).join(" · ");
  const within = isInside(row);
  return within ? say(`whole_${within}`) : "";
}

/** A box in words: what it is, its canonical name, and the shape of what leaves it. */
export function described(row: Row, stack: Stack): string {
  const shape = trace.value!.shapes[row.name];
  return [
    `${say(stack)}: ${title(row, stack)}`,
    row.name,
    shape?.join(" × "),
    remark(row),
    isMissing(row) ? say("whole_missing") : "",
  ]
    .filter(Boolean)
    .join(" · ");
}
