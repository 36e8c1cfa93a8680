// A matrix as a picture: one cell a number.
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { css, shareColour, signedColour } from "../colours";
import { clamp } from "../state";
import { isolate, say, show } from "../words";
import { paint, widest } from "./canvas";
import { part } from "./tokens";

const CELLS = [2, 3, 4, 6, 9, 14, 20, 28, 38, 52];

const LEGIBLE = 9;

const LONGEST_NAME = 170;

/** The place in CELLS of the largest that leaves `count` of them within `pixels`. */
const fitting = (count: number, pixels: number) =>
  CELLS.reduce((best, cell, k) => (cell * count <= pixels && cell <= 28 ? k : best), 0);

interface Matrix {
  title: string;
  rows: string[];
  columns: string[];
  /** Printed numbers, row by row; undefined while they are on their way, null where there are none. */
  numbers: ArrayLike<number> | null | undefined;
  /** Square roots of shares as bytes, for the picture, where it is of shares. */
  roots?: Uint8Array | null;
  /** The numbers have signs, and are drawn by their own largest. */
  signed?: boolean;
  /** Rows and columns are of one kind: cells are squares. */
  square?: boolean;
  /** Drawn with a column for each row: the lecture's notation. */
  turned?: boolean;
  /** Where BOS stands among the rows and among the columns, where source and target are one sequence. */
  begin?: [number, number];
  chosen: [number, number];
  onChoose: (row: number, column: number) => void;
}

/** A heatmap: one tab stop, arrows move the cell, the cell is spoken, it can be zoomed, and read as a table. */
export function Heatmap(props: Matrix) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const table = useSignal(false);
  // Steps from the size that fits.
  const zoom = useSignal(0);
  const { numbers, roots, signed, turned } = props;
  const [rows, columns] = turned ? [props.columns, props.rows] : [props.rows, props.columns];
  const [r, c] = turned ? [props.chosen[1], props.chosen[0]] : props.chosen;
  const [beginDown, beginAcross] = turned ? [props.begin?.[1], props.begin?.[0]] : (props.begin ?? []);
  const choose = (row: number, column: number) => (turned ? props.onChoose(column, row) : props.onChoose(row, column));
  const place = (row: number, column: number) => (turned ? column * rows.length + row : row * columns.length + column);
  const [across, down] = [fitting(columns.length, Math.min(640, innerWidth - 120)), fitting(rows.length, 420)];
  const sized = (at: number, other: number) =>
    CELLS[clamp(Math.min(at, other + (props.square ? 0 : 5)) + zoom.value, CELLS.length)];
  const [wide, high] = [sized(across, down), sized(down, across)];
  const numbered = wide >= 38 && high >= 14 && numbers;
  useEffect(() => {
    if (!canvas.current) return;
    let largest = 1e-9;
    if (numbers && signed)
      for (let k = 0; k < numbers.length; k++)
        if (Number.isFinite(numbers[k])) largest = Math.max(largest, Math.abs(numbers[k]));
    const at = (k: number) => place(Math.floor(k / columns.length), k % columns.length);
    const colour = (k: number): number[] => {
      if (roots && !signed) return shareColour(roots[at(k)] / 255);
      const value = numbers?.[at(k)] ?? 0;
      if (!signed) return shareColour(Math.sqrt(Math.max(0, value)));
      return Number.isFinite(value) ? signedColour(value / largest) : [187, 187, 187];
    };
    if (!numbered) {
      paint(canvas.current, rows.length, columns.length, colour);
      return;
    }
    const ratio = window.devicePixelRatio || 1;
    canvas.current.width = columns.length * wide * ratio;
    canvas.current.height = rows.length * high * ratio;
    const context = canvas.current.getContext("2d")!;
    context.scale(ratio, ratio);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    for (let k = 0; k < rows.length * columns.length; k++) {
      const shade = colour(k) as [number, number, number],
        [x, y] = [(k % columns.length) * wide, Math.floor(k / columns.length) * high];
      context.fillStyle = css(shade);
      context.fillRect(x, y, wide, high);
      context.fillStyle = shade[0] * 0.3 + shade[1] * 0.59 + shade[2] * 0.11 > 125 ? "#000" : "#fff";
      context.fillText(show(numbers[at(k)], 2), x + wide / 2, y + high / 2 + 4);
    }
  }, [numbers, roots, signed, turned, wide, high, numbered, table.value]);
  const under = (event: MouseEvent): [number, number] => {
    const box = canvas.current!.getBoundingClientRect();
    return [
      clamp(Math.floor(((event.clientY - box.top) / box.height) * rows.length), rows.length),
      clamp(Math.floor(((event.clientX - box.left) / box.width) * columns.length), columns.length),
    ];
  };
  const move = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    choose(clamp(r + step[0], rows.length), clamp(c + step[1], columns.length));
  };
  const value = numbers ? show(numbers[place(r, c)], 4) : numbers === null ? say("no_numbers") : "…";
  const spoken = `${isolate(props.rows[props.chosen[0]])} → ${isolate(props.columns[props.chosen[1]])}: ${value}`;
  const text = (cell: number) => `${Math.max(LEGIBLE, Math.min(13, cell))}px`;
  const above = useMemo(
    () =>
      columns.map((name, j) => (
        <span key={j} class={part(j, beginAcross)} style={{ width: `${wide}px`, fontSize: text(wide) }}>
          {wide >= LEGIBLE && (
            <i>
              <bdi>{name}</bdi>
            </i>
          )}
        </span>
      )),
    [columns, wide, beginAcross],
  );
  const beside = useMemo(
    () =>
      rows.map((name, i) => (
        <span
          key={i}
          class={part(i, beginDown)}
          style={{ height: `${high}px`, lineHeight: `${high}px`, fontSize: text(high) }}
        >
          {high >= LEGIBLE && <bdi>{name}</bdi>}
        </span>
      )),
    [rows, high, beginDown],
  );
  const headHeight = useMemo(() => 16 + 0.82 * Math.min(LONGEST_NAME, widest(columns)), [columns]); // they stand at 55°
  return (
    <figure class="matrix">
      <figcaption>
        {props.title}{" "}
        <span class="tools">
          <button
            type="button"
            class="link"
            onClick={() => {
              table.value = !table.value;
            }}
            disabled={!numbers}
          >
            {say(table.value ? "as_picture" : "as_table")}
          </button>
          {!table.value && (
            <>
              <button
                type="button"
                aria-label={say("smaller")}
                title={say("smaller")}
                disabled={wide === CELLS[0] && high === CELLS[0]}
                onClick={() => {
                  zoom.value -= 1;
                }}
              >
                −
              </button>
              <button
                type="button"
                aria-label={say("larger")}
                title={say("larger")}
                disabled={Math.min(wide, high) === CELLS.at(-1)}
                onClick={() => {
                  zoom.value += 1;
                }}
              >
                +
              </button>
            </>
          )}
        </span>
      </figcaption>
      {table.value && numbers ? (
        <div class="scroll" tabIndex={0} role="region" aria-label={props.title}>
          <table>
            <thead>
              <tr>
                <td />
                {columns.map((name, j) => (
                  <th key={j} scope="col">
                    <bdi>{name}</bdi>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((name, i) => (
                <tr key={i}>
                  <th scope="row">
                    <bdi>{name}</bdi>
                  </th>
                  {columns.map((_, j) => (
                    <td key={j}>{show(numbers[place(i, j)])}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <div class="scroll">
          <div class="plot">
            <div class="above" aria-hidden="true" style={{ height: `${headHeight}px` }}>
              {above}
              <span class="lit" style={{ left: `${c * wide}px`, width: `${wide}px`, fontSize: text(wide) }}>
                <i>
                  <bdi>{columns[c]}</bdi>
                </i>
              </span>
            </div>
            <div class="beside">
              <div class="names" aria-hidden="true">
                {beside}
                <span
                  class="lit"
                  style={{ top: `${(r + 0.5) * high - 8}px`, height: "16px", lineHeight: "16px", fontSize: text(high) }}
                >
                  <bdi>{rows[r]}</bdi>
                </span>
              </div>
              <div class="cells" style={{ width: `${columns.length * wide}px`, height: `${rows.length * high}px` }}>
                <canvas
                  ref={canvas}
                  tabIndex={0}
                  role="img"
                  aria-label={`${props.title}. ${spoken}`}
                  onClick={(event) => choose(...under(event))}
                  onMouseMove={(event) => event.buttons === 0 && choose(...under(event))}
                  onKeyDown={move}
                />
                {beginDown ? (
                  <span class="edge" style={{ left: "0", right: "0", top: `${beginDown * high}px` }} />
                ) : null}
                {beginAcross ? (
                  <span class="edge" style={{ top: "0", bottom: "0", left: `${beginAcross * wide}px` }} />
                ) : null}
                <span class="cross" style={{ left: "0", right: "0", top: `${r * high}px`, height: `${high}px` }} />
                <span class="cross" style={{ top: "0", bottom: "0", left: `${c * wide}px`, width: `${wide}px` }} />
              </div>
            </div>
          </div>
        </div>
      )}
      <p class="spoken" aria-live="polite">
        {spoken}
      </p>
    </figure>
  );
}

export const count = (length: number) => Array.from({ length }, (_, k) => String(k));
