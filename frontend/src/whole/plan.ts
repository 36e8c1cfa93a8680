// Where the parts of a model lie in its picture, from its configuration alone. Lengths are pixels; nothing is drawn here.
import type { Stack } from "../state";
import type { Architecture } from "../wire";

export type Part =
  "embedding" | "positions" | "norm" | "self" | "cross" | "feed_forward" | "add" | "add_norm" | "output";

/** What vectors pass through, from below to above: a part that computes, or the place where they are seen in between. */
export interface Row {
  kind: "box" | "lane";
  part: Part;
  layer: number | null;
  /** The canonical name of what leaves here; "" where nothing of that name is recorded. */
  name: string;
  /** The model was trained without it. */
  missing: boolean;
  /** Its upper edge. */
  y: number;
  height: number;
}

export interface Wire {
  kind: "residual" | "memory" | "feedback";
  missing: boolean;
  points: [number, number][];
  layer: number | null;
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
  rows: Row[];
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
  /** Beside the decoder, where the encoder leaves room for it, or else above. */
  distribution: { x: number; y: number; width: number; height: number; line: number };
  /** Where the encoder's output goes up to the blocks of the decoder. */
  trunk: number;
  /** Where an answer goes down to be the next input. */
  back: number;
}

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
/** With more layers than this, only the residual stream is drawn. */
const DETAILED = 3;
/** How many tokens of a distribution are drawn. */
export const LISTED = 5;

const UNITS: Record<Part, number> = {
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
const [STREAM, INNER, GAP] = [20, 9, 4];

export type Unplaced = Omit<Row, "y">;

/** The rows of a stack, from below to above, each as high as it would like to be. */
export function rowsOf(config: Architecture, stack: Stack): Unplaced[] {
  const layers = config[`${stack}_layers`];
  const without = new Set<string>(config.without);
  const detailed = Math.max(config.encoder_layers, config.decoder_layers) <= DETAILED;
  const box = (part: Part, layer: number | null, name: string, missing = false): Unplaced => ({
    kind: "box",
    part,
    layer,
    name,
    missing,
    height: UNITS[part],
  });
  const lane = (part: Part, layer: number | null, name: string, height = STREAM): Unplaced => ({
    kind: "lane",
    part,
    layer,
    name,
    missing: false,
    height,
  });
  const inner = (part: Part, layer: number, name: string) => (detailed ? [lane(part, layer, name, INNER)] : []);
  const added = ["sinusoidal", "tensor2tensor", "learned"].includes(config.positions) || without.has("positions");
  const sublayer = (part: "self" | "cross" | "feed_forward", layer: number): Unplaced[] => {
    const name = `${stack}.${layer}.${part}`;
    const missing = part === "cross" && without.has("cross");
    return config.norm === "pre"
      ? [
          box("norm", layer, `${name}.norm`, without.has("norm")),
          ...inner("norm", layer, `${name}.norm`),
          box(part, layer, `${name}.output`, missing),
          ...inner(part, layer, `${name}.output`),
          box("add", layer, `${name}.residual`, without.has("residual")),
          lane("add", layer, `${name}.residual`),
        ]
      : [
          box(part, layer, `${name}.output`, missing),
          ...inner(part, layer, `${name}.output`),
          box("add_norm", layer, `${name}.norm`, without.has("residual") || without.has("norm")),
          lane("add_norm", layer, `${name}.norm`),
        ];
  };
  const last = stack === "decoder" || config.shape === "encoder";
  return [
    box("embedding", null, `${stack}.embedding`),
    lane("embedding", null, `${stack}.embedding`),
    ...(added
      ? [box("positions", null, `${stack}.input`, without.has("positions")), lane("positions", null, `${stack}.input`)]
      : []),
    ...(config.embedding_norm
      ? [box("norm", null, `${stack}.input`, without.has("norm")), lane("norm", null, `${stack}.input`)]
      : []),
    ...Array.from({ length: layers }, (_, layer) => [
      ...sublayer("self", layer),
      ...(stack === "decoder" && config.shape === "encoder-decoder" ? sublayer("cross", layer) : []),
      ...sublayer("feed_forward", layer),
    ]).flat(),
    ...(config.final_norm
      ? [box("norm", null, `${stack}.output`, without.has("norm")), lane("norm", null, `${stack}.output`)]
      : []),
    ...(last ? [box("output", null, "logits")] : []),
  ];
}

/** The size of letters that would be this share of the text's. */
export const letters = (of: { em: number; least: number }, share: number) => Math.max(of.least, share * of.em);

/** Which lines of names have room below one another, and beside the one that is `taken`; the first are most important. */
export function legible<Line extends { y: number }>(lines: Line[], height: number, taken: number): Line[] {
  const found: Line[] = [];
  for (const line of lines)
    if ([taken, ...found.map(({ y }) => y)].every((y) => Math.abs(y - line.y) >= height)) found.push(line);
  return found;
}

const tall = (rows: Unplaced[]) => rows.reduce((sum, row) => sum + row.height + GAP, 0);

/** The whole picture: the encoder on the left and the decoder on the right, or one above the other where it is narrow. */
export function plan(config: Architecture, sizes: Sizes): Plan {
  const { width, em, counts, labels } = sizes;
  const kinds = sizes.stacks;
  const both = kinds.length > 1;
  const narrow = width < 44 * em;
  const rows = Object.fromEntries(kinds.map((stack) => [stack, rowsOf(config, stack)])) as Record<Stack, Unplaced[]>;
  const last = kinds[kinds.length - 1];
  const margin = narrow ? 2.2 * em : sizes.names + 2.4 * em;
  const gap = both && !narrow ? 4.5 * em : 0;
  const back = config.shape === "encoder" ? 0 : 1.4 * em;
  const stacked = both && narrow;
  const line = Math.max(1.25 * em, 1.25 * sizes.least);
  const shown = LISTED * line + em;
  let beside = both && !narrow;
  const over = (stack: Stack) => (stack === last ? labels.answers + (beside ? 0 : shown) + 1.4 * em : 1.8 * em);
  const below = (stack: Stack) =>
    narrow ? labels[stack] + 2 * em : Math.max(labels[stack] + 0.6 * em, stack === "decoder" ? 2 * em : 0);
  const density = () => {
    const lowest = Math.max(...kinds.map(below)); // side by side, all stand on one line
    const fitting = Math.min(
      ...kinds.map((stack) => (sizes.height - over(stack) - (stacked ? below(stack) : lowest)) / tall(rows[stack])),
    );
    return Math.max(narrow ? (0.85 * em) / 16 : LEAST, Math.min((1.25 * em) / 16, fitting));
  };
  let dense = density();
  // The encoder is lower than the decoder by its cross-attention and by its answers: there may be room above it.
  const free = (stack: Stack) => (tall(rows[last]) - tall(rows[stack])) * dense + over(last) - 2.6 * em;
  if (beside && free("encoder") < LISTED * line) {
    beside = false;
    dense = density();
  }

  // The widths: by the number of positions, but none is squeezed.
  const space =
    width - (stacked || !both ? 1 : 2) * margin - (stacked || !both ? margin * (narrow ? 1 : 0.6) : 0) - gap - back;
  const share =
    stacked || !both ? 1 : Math.max(0.36, Math.min(0.64, counts[kinds[0]] / (counts.encoder + counts.decoder)));
  const widths: Record<Stack, number> = {
    encoder: space * share,
    decoder: stacked || !both ? space : space * (1 - share),
  };

  const tower = (stack: Stack, left: number, bottom: number, side: Tower["side"]): Tower => {
    const count = counts[stack];
    const pitch = Math.min(4 * em, widths[stack] / Math.max(1, count));
    const wide = Math.max(pitch * count, Math.min(widths[stack], 12 * em));
    const start = both && side === "left" ? left + widths[stack] - wide : left;
    let y = bottom;
    const placed = rows[stack].map((row) => {
      const height = row.height * dense;
      y -= height + GAP * dense;
      return { ...row, y, height };
    });
    const first = start + (wide - pitch * count) / 2 + pitch / 2;
    return {
      stack,
      count,
      left: start,
      right: start + wide,
      pitch,
      at: (k) => first + k * pitch,
      rows: placed,
      top: y,
      bottom,
      foot: bottom + labels[stack],
      name: side === "left" ? y - 0.5 * em : bottom + (side === "right" ? 1.2 * em : labels[stack] + 0.8 * em),
      side,
      bypass: side === "right" ? start + wide + 0.8 * em : start - 0.8 * em,
    };
  };

  const towers: Tower[] = [];
  let height: number;
  if (stacked) {
    const first = over("decoder") + tall(rows.decoder) * dense;
    const second = first + below("decoder") + 1.5 * em + tall(rows.encoder) * dense;
    towers.push(tower("encoder", margin, second, "inside"), tower("decoder", margin, first, "inside"));
    height = second + below("encoder");
  } else {
    const bottom = Math.max(...kinds.map((stack) => over(stack) + tall(rows[stack]) * dense));
    const side = (stack: Stack): Tower["side"] => (narrow ? "inside" : both && stack === "decoder" ? "right" : "left");
    const lefts: Record<Stack, number> = { encoder: margin, decoder: both ? margin + widths.encoder + gap : margin };
    towers.push(...kinds.map((stack) => tower(stack, lefts[stack], bottom, side(stack))));
    height = bottom + Math.max(...kinds.map(below));
  }
  const end = towers[towers.length - 1];
  const answers = { y: end.top - labels.answers - 0.4 * em, height: labels.answers };
  const room = end.right - end.left;
  const across = towers[0].right - towers[0].left;
  const roomy = beside ? Math.max(line, Math.min(1.5 * em, free("encoder") / LISTED)) : line;
  const distribution = beside
    ? {
        x: towers[0].left + Math.max(0, across - 30 * em) / 2,
        y: 0.4 * em,
        width: Math.min(across, 30 * em),
        height: LISTED * roomy,
        line: roomy,
      }
    : {
        x: end.left,
        y: answers.y - shown - 0.2 * em,
        width: Math.min(Math.max(room, 14 * em), 24 * em),
        height: shown,
        line: roomy,
      };
  const trunk = stacked ? 0.7 * em : both ? (towers[0].right + towers[1].left) / 2 : 0;
  const wayBack = narrow
    ? width - 0.6 * em
    : Math.min(width - 0.8 * em, end.right + (end.side === "right" ? sizes.names + 2.4 * em : 2 * em));
  return {
    width,
    height,
    em,
    least: sizes.least,
    names: sizes.names,
    towers,
    wires: wires(config, towers, trunk, em),
    answers,
    distribution,
    trunk,
    back: wayBack,
  };
}

function wires(config: Architecture, towers: Tower[], trunk: number, em: number): Wire[] {
  const found: Wire[] = [];
  const without = new Set<string>(config.without);
  for (const tower of towers) {
    let stream: Row | undefined;
    const edge = tower.side === "right" ? tower.right : tower.left;
    for (const row of tower.rows) {
      const isStream =
        row.kind === "lane" &&
        (row.part === "embedding" || row.part === "positions" || row.part === "add" || row.part === "add_norm");
      if (isStream) stream = row;
      if (row.kind === "box" && (row.part === "add" || row.part === "add_norm") && stream) {
        const [from, to] = [stream.y + stream.height / 2, row.y + row.height / 2];
        found.push({
          kind: "residual",
          missing: without.has("residual"),
          layer: row.layer,
          points: [
            [edge, from],
            [tower.bypass, from],
            [tower.bypass, to],
            [edge, to],
          ],
        });
      }
    }
  }
  if (towers.length > 1) {
    const [encoder, decoder] = towers;
    const from = encoder.rows[encoder.rows.length - 1];
    const start = from.y - 0.5 * em;
    for (const row of decoder.rows)
      if (row.kind === "box" && row.part === "cross")
        found.push({
          kind: "memory",
          missing: row.missing,
          layer: row.layer,
          points: [
            [(encoder.left + encoder.right) / 2, from.y],
            [(encoder.left + encoder.right) / 2, start],
            [trunk, start],
            [trunk, row.y + row.height * 0.5],
            [decoder.left, row.y + row.height * 0.5],
          ],
        });
  }
  return found;
}
