// What the sides of matrices count, and how large their cells are.
import { useMemo } from "preact/hooks";
import { chosenAt, selected } from "../../attention";
import { viewport } from "../../pictures/canvas";
import { coordinates } from "../../pictures/heatmap";
import { labels } from "../../pictures/tokens";
import { inColumns, number, select } from "../../state";
import type { Tensors } from "./tensors";

/** Queries, keys, coordinates of a head, of the model's width, of all heads, or of the output. */
export type Axis = "i" | "j" | "d" | "c" | "o" | "e";

export interface Axes {
  names: Record<Axis, string[]>;
  chosen: Record<Axis, number>;
  /** Pixels of a cell. */
  sizes: Record<Axis, number>;
  choose: (at: Partial<Record<Axis, number>>) => void;
}

export function useAxes(size: Tensors["size"]): Axes {
  const { stack, asks, answers, head, i, j } = selected();
  const { d, width, all } = size;
  const names = useMemo(
    () => ({
      i: labels(asks),
      j: labels(answers),
      d: coordinates(d),
      c: coordinates(width),
      o: coordinates(all),
      e: coordinates(width),
    }),
    [asks, answers, d, width, all, inColumns()],
  );
  const [c, at] = [number("c", width), number("d", d)];
  return {
    names,
    chosen: { i, j, d: at, c, o: head * d + at, e: c },
    sizes: sizesOf(size),
    // A coordinate of all heads is one of some head; one of the output is one of the model's width.
    choose: ({ o, e, ...others }) => {
      const position = others.i === undefined ? {} : chosenAt(stack, others.i);
      const here = o === undefined ? {} : { head: Math.floor(o / d), d: o % d };
      select({ ...others, ...position, ...here, ...(e === undefined ? {} : { c: e }) });
    },
  };
}

/** As large as three matrices side by side can be. */
function sizesOf({ rows, columns, d, width }: Tensors["size"]): Record<Axis, number> {
  const across = viewport.value.width - (viewport.value.width < 760 ? 60 : 380);
  const high = 0.5 * viewport.value.height;
  const cells = (count: number, room: number, least: number, most: number) =>
    Math.max(least, Math.min(most, Math.floor(room / count)));
  const token = cells(3 * Math.max(rows, columns) + 12, across * 0.86, 4, 22);
  const wide = cells(width, Math.min(high, across * 0.45), 2, 8);
  return { i: token, j: token, d: cells(d, high * 0.45, 3, 12), c: wide, o: wide, e: wide };
}
