// Where the parts of a model lie in its picture, from its configuration alone. Lengths are pixels; nothing is drawn here.
import type { Stack } from "../state";
import type { Architecture } from "../wire";
import {
  between,
  below,
  GAP,
  type Layout,
  layoutOf,
  LISTED,
  margin,
  over,
  roomAboveEncoder,
  shown,
  type Sizes,
  tall,
  unitOf,
  widthsOf,
} from "./layout";
import type { Row } from "./rows";
import { type Wire, wiresOf } from "./wires";

/** A row in its place. */
export interface Placed extends Row {
  /** Its upper edge. */
  y: number;
  /** In pixels. */
  height: number;
}

/** One stack: a column for each position, and rows from below to above. */
export interface Tower {
  stack: Stack;
  count: number;
  left: number;
  right: number;
  /** The distance of two positions. */
  pitch: number;
  at: (position: number) => number;
  rows: Placed[];
  top: number;
  bottom: number;
  /** Below the names of its tokens. */
  foot: number;
  /** The line of the stack's own name. */
  name: number;
  /** Where the names of boxes stand. */
  side: "left" | "right" | "inside";
  /** Where residual connections pass. */
  bypass: number;
}

export interface Plan {
  width: number;
  height: number;
  em: number;
  /** Letters are no smaller. */
  least: number;
  /** How wide the names of boxes are. */
  names: number;
  towers: Tower[];
  wires: Wire[];
  /** The row of answers, one at each position. */
  answers: { y: number; height: number };
  /** The most probable tokens, a line each. */
  distribution: { x: number; y: number; width: number; height: number; line: number };
  /** Where the encoder's output goes up to the blocks of the decoder. */
  trunk: number;
  /** Where an answer goes down to be the next input. */
  back: number;
}

/** The whole picture: the encoder on the left and the decoder on the right, or one above the other where it is narrow. */
export function plan(config: Architecture, sizes: Sizes): Plan {
  const layout = layoutOf(config, sizes);
  const { width, em, least, names, labels } = sizes;
  const towers = layout.arrangement === "stacked" ? stacked(layout) : abreast(layout);
  const last = towers[towers.length - 1];
  const answers = { y: last.top - labels.answers - 0.4 * em, height: labels.answers };
  const unwired = {
    width,
    height: Math.max(...towers.map(({ bottom, stack }) => bottom + below(layout, stack))),
    em,
    least,
    names,
    towers,
    answers,
    distribution: layout.above ? aboveEncoder(layout, towers[0]) : aboveAnswers(layout, last, answers.y),
    trunk: { alone: 0, stacked: 0.7 * em, abreast: (towers[0].right + last.left) / 2 }[layout.arrangement],
    back: layout.narrow
      ? width - 0.6 * em
      : Math.min(width - 0.8 * em, last.right + (last.side === "right" ? names + 2.4 * em : 2 * em)),
  };
  return { ...unwired, wires: wiresOf(config, unwired) };
}

/** The decoder above the encoder. */
function stacked(layout: Layout): Tower[] {
  const { rows, sizes } = layout;
  const unit = unitOf(layout);
  const decoder = over(layout, "decoder") + tall(rows.decoder) * unit;
  const encoder = decoder + below(layout, "decoder") + 1.5 * sizes.em + tall(rows.encoder) * unit;
  const place = { left: margin(layout), side: "inside" } as const;
  return [
    tower(layout, "encoder", { ...place, bottom: encoder }),
    tower(layout, "decoder", { ...place, bottom: decoder }),
  ];
}

/** All stacks on one line. */
function abreast(layout: Layout): Tower[] {
  const { stacks } = layout.sizes;
  const unit = unitOf(layout);
  const bottom = Math.max(...stacks.map((stack) => over(layout, stack) + tall(layout.rows[stack]) * unit));
  return stacks.map((stack, k) => {
    const left = margin(layout) + (k ? widthsOf(layout).encoder + between(layout) : 0);
    return tower(layout, stack, { left, bottom, side: layout.narrow ? "inside" : k ? "right" : "left" });
  });
}

function tower(layout: Layout, stack: Stack, place: Pick<Tower, "left" | "bottom" | "side">): Tower {
  const { em, counts, labels } = layout.sizes;
  const { bottom, side } = place;
  const count = counts[stack];
  const space = widthsOf(layout)[stack];
  const pitch = Math.min(4 * em, space / Math.max(1, count));
  const wide = Math.max(pitch * count, Math.min(space, 12 * em));
  // Two that are side by side stand as close as they can.
  const left = layout.arrangement === "abreast" && side === "left" ? place.left + space - wide : place.left;
  const right = left + wide;
  const first = left + (wide - pitch * count) / 2 + pitch / 2;
  const rows = placed(layout.rows[stack], bottom, unitOf(layout));
  const top = rows[rows.length - 1].y;
  return {
    stack,
    count,
    left,
    right,
    pitch,
    at: (k) => first + k * pitch,
    rows,
    top,
    bottom,
    foot: bottom + labels[stack],
    name: { left: top - 0.5 * em, right: bottom + 1.2 * em, inside: bottom + labels[stack] + 0.8 * em }[side],
    side,
    bypass: side === "right" ? right + 0.8 * em : left - 0.8 * em,
  };
}

/** Rows one above the other; `unit`: in pixels. */
function placed(rows: Row[], bottom: number, unit: number): Placed[] {
  let y = bottom;
  return rows.map((row) => {
    const height = row.height * unit;
    y -= height + GAP * unit;
    return { ...row, y, height };
  });
}

/** Where the distribution stands, beside the decoder. */
function aboveEncoder(layout: Layout, encoder: Tower): Plan["distribution"] {
  const { em } = layout.sizes;
  const across = encoder.right - encoder.left;
  const line = Math.max(layout.line, Math.min(1.5 * em, roomAboveEncoder(layout) / LISTED));
  return {
    x: encoder.left + Math.max(0, across - 30 * em) / 2,
    y: 0.4 * em,
    width: Math.min(across, 30 * em),
    height: LISTED * line,
    line,
  };
}

function aboveAnswers(layout: Layout, last: Tower, y: number): Plan["distribution"] {
  const { em } = layout.sizes;
  return {
    x: last.left,
    y: y - shown(layout) - 0.2 * em,
    width: Math.min(Math.max(last.right - last.left, 14 * em), 24 * em),
    height: shown(layout),
    line: layout.line,
  };
}
