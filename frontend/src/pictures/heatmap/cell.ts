// How large a cell is, and what can be read in it and beside it.
import { projector } from "../../keys";
import { clamp } from "../../state";
import { viewport } from "../canvas";
import type { Drawn, Matrix } from "./matrix";

/** Sizes in pixels: zooming goes from one to the next. */
export const CELLS = [2, 3, 4, 6, 9, 14, 20, 28, 38, 52, 62, 72];
/** By so many sizes a cell may be longer on one side than on the other. */
const LONGER = 5;

/** The height of lines of names in pixels. */
export const lineHeight = () => (projector.value ? 26 : 12);

/** The size of names beside cells of this size. */
export const lettersAt = (cell: number) => Math.max(projector.value ? 24 : 11, Math.min(24, 0.62 * cell));

/** Where names are taller than cells, each stands for so many; the chosen one is always there. */
export const every = (cell: number) => Math.ceil(lineHeight() / cell);

/** Numbers in their order: where cells are small, not every one has to be read. */
const isScale = (names: string[]) => names.every((name, k) => name === String(k));

/** The place in CELLS of the largest that leaves `count` of them within `pixels`. */
const fitting = (count: number, pixels: number, largest: number) =>
  CELLS.reduce((best, cell, k) => (cell * count <= pixels && cell <= largest ? k : best), 0);

/** The place of the smallest in which every name can be read. */
const readable = (names: string[]) => (isScale(names) ? 0 : CELLS.findIndex((cell) => cell >= lineHeight()));

export interface Cell {
  wide: number;
  high: number;
}

/** As large as the window allows; `zoom`: in steps from there. */
export function cellOf({ plate, turned, room = 1 }: Matrix, { down, across }: Drawn, zoom: number): Cell {
  if (plate) return turned ? { wide: plate.row, high: plate.column } : { wide: plate.column, high: plate.row };
  const { width, height } = viewport.value;
  const large = projector.value;
  const [outside, labelled] = large ? [60, 220] : width > 760 ? [240, 120] : [30, 120]; // map and margins; names
  const roomiest = large ? 72 : height > 950 ? 38 : 28;
  const fits = {
    wide: fitting(across.names.length, (width - outside) * room - labelled, roomiest),
    high: fitting(down.names.length, (large ? 0.66 : 0.62) * height, roomiest),
  };
  const sized = (names: string[], at: number, other: number) =>
    CELLS[clamp(Math.max(readable(names), Math.min(at, other + LONGER)) + zoom, CELLS.length)];
  return { wide: sized(across.names, fits.wide, fits.high), high: sized(down.names, fits.high, fits.wide) };
}

/** Whether a number can be read in a cell. */
export const isReadable = ({ wide, high }: Cell) => wide >= (projector.value ? 62 : 38) && high >= lineHeight();
