// A matrix of numbers, and how it lies in its picture.
import { hiddenColour, shareColour, signedColour } from "../../colours";

export interface Matrix {
  title: string;
  rows: string[];
  columns: string[];
  /** Printed numbers, row by row; undefined while they are on their way, null where there are none. */
  numbers: ArrayLike<number> | null | undefined;
  /** Square roots of shares as bytes, for the picture, where it is of shares. */
  roots?: Uint8Array | null;
  /** The numbers have signs, and are drawn by their own largest. */
  signed?: boolean;
  /** The largest number of the pictures that this one may be compared with. */
  group?: number;
  /** How much of the window's width is left to it. */
  room?: number;
  /** A factor or a result of a product: cells of this height and width, no names, and only what takes part is lit. */
  plate?: { row: number; column: number; lit: "row" | "column" | "cell" };
  /** Drawn with a column for each row: the lecture's notation. */
  turned?: boolean;
  /** What rows and columns are, where that is no matter of course. */
  axes?: readonly [string, string];
  /** Where BOS stands among the rows and among the columns, where source and target are one sequence. */
  begin?: [number, number];
  chosen: [number, number];
  onChoose: (row: number, column: number) => void;
}

/** A matrix as it is drawn: what goes down, and what goes across. */
export interface Drawn {
  down: Side;
  across: Side;
  /** The place of a cell among the numbers. */
  place: (row: number, column: number) => number;
  choose: (row: number, column: number) => void;
}

interface Side {
  names: string[];
  chosen: number;
  axis?: string;
  begin?: number;
}

export function drawnAs({ turned, ...matrix }: Matrix): Drawn {
  const { rows, columns, chosen, axes, begin, onChoose } = matrix;
  const sides = [rows, columns].map((names, k) => ({ names, chosen: chosen[k], axis: axes?.[k], begin: begin?.[k] }));
  const [down, across] = turned ? sides.reverse() : sides;
  return {
    down,
    across,
    place: (row, column) => (turned ? column * columns.length + row : row * columns.length + column),
    choose: (row, column) => (turned ? onChoose(column, row) : onChoose(row, column)),
  };
}

/** The colour of the number at a place; `most`: the largest of signed ones. */
export function colourAt({ numbers, roots, signed }: Matrix, most: number, place: number) {
  if (roots && !signed) return shareColour(roots[place] / 255);
  const value = numbers?.[place] ?? 0;
  if (!signed) return shareColour(Math.sqrt(Math.max(0, value)));
  return Number.isFinite(value) ? signedColour(value / most) : hiddenColour();
}
