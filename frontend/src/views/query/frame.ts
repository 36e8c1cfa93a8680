// Where everything stands in the picture of one query.
import { projector } from "../../keys";
import { widest } from "../../pictures/canvas";
import type { Room } from "../../pictures/room";
import type { Computation } from "./computation";

/** Lines of text and upper edges of boxes, from above to below. */
export const BAND = {
  result: 18,
  sum: 46,
  shares: 104,
  softmax: 140,
  exp: 168,
  scaled: 190,
  dot: 212,
  query: 246,
  vectors: 262,
  box: 346,
  token: 396,
};
/** The height of a vector. */
export const TALL = 56;

/** A column in which names stand upright; in others they are turned by so many radians. */
const ROOMY = 50;
const SLOPE = Math.PI / 3;
/** Columns are no narrower: a few, whose numbers are all written, and many, where only those of the chosen key are. */
const NARROW = { few: 28, many: 14 };
/** A column with room for the name of its input. */
const NAMED = 26;
/** A column with room for its numbers; from afar, they have to be larger. */
const roomForNumbers = () => (projector.value ? 40 : 36);

/** A column for each key. */
export interface Frame {
  width: number;
  height: number;
  /** Pixels of a unit. */
  scale: number;
  /** The edge of the first column, and the width of all. */
  left: number;
  cell: number;
  /** The size of numbers. */
  digits: number;
  /** The middle of a column, and of the query. */
  x: (at: number) => number;
  asks: number;
  /** The width of a vector, and how far keys and values stand from the middle. */
  thin: number;
  apart: (at: number) => number;
  /** Whether names stand upright. */
  roomy: boolean;
  isNamed: (at: number) => boolean;
  isNumbered: (at: number) => boolean;
}

export const shortened = (name: string) => (name.length > 12 ? `${name.slice(0, 11)}⋯` : name);

export function frameOf({ names, cross, i, j }: Computation, room: Room | null): Frame {
  const count = names.length;
  const least = count > 24 ? NARROW.many : NARROW.few;
  const long = names.map((name) => (14 / 13) * widest([shortened(name)]));
  // Names that have no room side by side hang below their columns, to the left.
  const left = cross ? 110 : Math.max(34, ...long.map((each, at) => each * Math.cos(SLOPE) - at * least));
  const high = (cell: number) => BAND.token + (cell >= ROOMY ? 12 : Math.max(...long) * Math.sin(SLOPE) + 12);
  const across = (room?.width ?? 320) - 20;
  // On a projector letters are 24 pixels high, if all columns have room then.
  const fitting = Math.min(
    across / (left + least * count),
    room ? (room.height - 3 * room.em) / high((14 / 24) * (across / count)) : 1,
  );
  const scale = projector.value ? Math.max(1, Math.min(24 / 14, fitting)) : 1;
  const cell = Math.max(least, Math.min(130, (across / scale - left) / count));
  const x = (at: number) => left + (at + 0.5) * cell;
  const thin = Math.max(3, Math.min(16, cell / 4));
  const all = cell >= roomForNumbers();
  return {
    width: left + cell * count + 20,
    height: high(cell),
    scale,
    left,
    cell,
    digits: all ? Math.min(projector.value ? 14 : 12, cell / 3.1) : 12,
    x,
    asks: cross ? 50 : x(i),
    thin,
    apart: (at) => (!cross && at === i ? 1.6 : 1) * thin, // the query is between the key and the value of its own token
    roomy: cell >= ROOMY,
    isNamed: (at) => cell >= NAMED || at === j || at === i,
    isNumbered: (at) => all || at === j,
  };
}
