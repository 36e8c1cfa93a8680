// What there is room for in the picture of a model: how its stacks are arranged, and how wide and high they can be.
import type { Stack } from "../state";
import type { Architecture } from "../wire";
import { type Row, rowsOf } from "./rows";

export interface Sizes {
  stacks: readonly Stack[];
  width: number;
  /** What the picture should fill, if it can; each stack by itself, where one stands above the other. */
  height: number;
  /** The size of text. */
  em: number;
  /** Letters are no smaller. */
  least: number;
  counts: Record<Stack, number>;
  /** How high the names of tokens are. */
  labels: Record<Stack | "answers", number>;
  /** How wide the names of boxes are. */
  names: number;
}

/** Pixels of a unit of height in the lowest picture. */
const LEAST = 0.2;
/** Units between two rows. */
export const GAP = 4;
/** How many tokens of a distribution are drawn. */
export const LISTED = 5;

/** What decides where everything lies. */
export interface Layout {
  config: Architecture;
  sizes: Sizes;
  rows: Record<Stack, Row[]>;
  /** Whether the names of boxes stand in them: there is no room at their sides. */
  narrow: boolean;
  arrangement: "alone" | "abreast" | "stacked";
  /** Whether the distribution stands above the encoder, which is lower than the decoder, or else above the answers. */
  above: boolean;
  /** The least height of a line of the distribution. */
  line: number;
}

export function layoutOf(config: Architecture, sizes: Sizes): Layout {
  const { stacks, width, em, least } = sizes;
  const narrow = width < 44 * em;
  const arrangement = stacks.length < 2 ? "alone" : narrow ? "stacked" : "abreast";
  const layout: Layout = {
    config,
    sizes,
    rows: Object.fromEntries(stacks.map((stack) => [stack, rowsOf(config, stack)])) as Layout["rows"],
    narrow,
    arrangement,
    above: arrangement === "abreast",
    line: Math.max(1.25 * em, 1.25 * least),
  };
  return layout.above && roomAboveEncoder(layout) < LISTED * layout.line ? { ...layout, above: false } : layout;
}

const lastOf = ({ sizes: { stacks } }: Layout) => stacks[stacks.length - 1];

/** The height of a stack in units. */
export const tall = (rows: Row[]) => rows.reduce((sum, row) => sum + row.height + GAP, 0);

/** What is kept free above a stack: for the answers and, if it is there, for the distribution. */
export function over(layout: Layout, stack: Stack): number {
  const { em, labels } = layout.sizes;
  if (stack !== lastOf(layout)) return 1.8 * em;
  return labels.answers + (layout.above ? 0 : shown(layout)) + 1.4 * em;
}

/** What is kept free below a stack, for the names of its tokens. */
export function below({ narrow, sizes: { em, labels } }: Layout, stack: Stack): number {
  if (narrow) return labels[stack] + 2 * em;
  return Math.max(labels[stack] + 0.6 * em, stack === "decoder" ? 2 * em : 0);
}

/** The height of a distribution above the answers. */
export const shown = ({ line, sizes: { em } }: Layout) => LISTED * line + em;

/** How many pixels a unit of height has. */
export function unitOf(layout: Layout): number {
  const { stacks, height, em } = layout.sizes;
  const lowest = Math.max(...stacks.map((stack) => below(layout, stack))); // side by side, all stand on one line
  const room = (stack: Stack) =>
    height - over(layout, stack) - (layout.arrangement === "stacked" ? below(layout, stack) : lowest);
  const fitting = Math.min(...stacks.map((stack) => room(stack) / tall(layout.rows[stack])));
  return Math.max(layout.narrow ? (0.85 * em) / 16 : LEAST, Math.min((1.25 * em) / 16, fitting));
}

/** The encoder is lower than the decoder by its cross-attention and by its answers. */
export function roomAboveEncoder(layout: Layout): number {
  const { rows, sizes } = layout;
  const lower = tall(rows.decoder) - tall(rows.encoder);
  return lower * unitOf(layout) + over(layout, "decoder") - 2.6 * sizes.em;
}

/** What is kept free at the left of a stack and, side by side, at the right: for the names of its boxes. */
export const margin = ({ narrow, sizes: { em, names } }: Layout) => (narrow ? 2.2 * em : names + 2.4 * em);

export const between = ({ arrangement, sizes: { em } }: Layout) => (arrangement === "abreast" ? 4.5 * em : 0);

/** The width for each stack: side by side, by the number of positions, but none is squeezed. */
export function widthsOf(layout: Layout): Record<Stack, number> {
  const { width, em, counts } = layout.sizes;
  const abreast = layout.arrangement === "abreast";
  const right = abreast || layout.narrow ? margin(layout) : 0.6 * margin(layout);
  const back = layout.config.shape === "encoder" ? 0 : 1.4 * em;
  const space = width - margin(layout) - right - between(layout) - back;
  if (!abreast) return { encoder: space, decoder: space };
  const share = Math.max(0.36, Math.min(0.64, counts.encoder / (counts.encoder + counts.decoder)));
  return { encoder: space * share, decoder: space * (1 - share) };
}
