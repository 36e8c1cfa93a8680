// A heatmap as a file: its picture, and its numbers.
import { css } from "../../colours";
import { isolate } from "../../words";
import { widest } from "../canvas";
import { csvOf, escaped } from "../save";
import { type Cell, every } from "./cell";
import { colourAt, type Drawn, type Matrix } from "./matrix";
import { headHeight } from "./names";

export const csv = (numbers: ArrayLike<number>, { down, across, place }: Drawn) =>
  csvOf([
    ["", ...across.names],
    ...down.names.map((name, row) => [name, ...across.names.map((_, column) => numbers[place(row, column)])]),
  ]);

export function svg(of: Matrix, drawn: Drawn, cell: Cell, most: number): string {
  const { down, across, place } = drawn;
  const { wide, high } = cell;
  const cells = down.names.flatMap((_, row) =>
    across.names.map((_, column) => {
      const fill = css(colourAt(of, most, place(row, column)));
      return `<rect x="${column * wide}" y="${row * high}" width="${wide}" height="${high}" fill="${fill}"/>`;
    }),
  );
  const name = (text: string, rest: string) => `<text font-size="12" ${rest}>${escaped(isolate(text))}</text>`;
  const names = [
    ...down.names.map((text, row) =>
      row % every(high) ? "" : name(text, `x="-6" y="${(row + 0.5) * high + 4}" text-anchor="end"`),
    ),
    ...across.names.map((text, column) =>
      column % every(wide) ? "" : name(text, `transform="translate(${(column + 0.5) * wide},-4) rotate(-55)"`),
    ),
  ];
  const ink = getComputedStyle(document.body).color;
  const [left, top] = [widest(down.names) + 16, headHeight(drawn, cell) + 30];
  const width = left + across.names.length * wide + 0.6 * widest(across.names) + 10;
  const height = top + down.names.length * high + 10;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" fill="${ink}">`,
    `<text x="8" y="20" font-size="15">${escaped(isolate(of.title))}</text>`,
    `<g transform="translate(${left},${top})">${cells.join("")}${names.join("")}</g></svg>`,
  ].join("");
}
