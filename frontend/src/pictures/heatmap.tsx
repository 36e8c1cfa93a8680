// A matrix as a picture: one cell a number.
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { css, dark, hiddenColour, inkOn, shareColour, signedColour } from "../colours";
import { projector } from "../keys";
import { Letters } from "../parts";
import { clamp } from "../state";
import { brief, isolate, say, show } from "../words";
import { largest, paint, viewport, widest } from "./canvas";
import { common, Legend } from "./legend";
import { csvOf, escaped, Save } from "./save";
import { part } from "./tokens";
import "./heatmap.css";

const CELLS = [2, 3, 4, 6, 9, 14, 20, 28, 38, 52, 62, 72];

/** Height of the lines of names in pixels. */
const line = () => (projector.value ? 26 : 12);

const LONGEST_NAME = 170;

/** Numbers in their order: where cells are small, not every one has to be read. */
const isScale = (names: string[]) => names.every((name, k) => name === String(k));

/** The place in CELLS of the largest that leaves `count` of them within `pixels`. */
const fitting = (count: number, pixels: number, largest: number) =>
  CELLS.reduce((best, cell, k) => (cell * count <= pixels && cell <= largest ? k : best), 0);
/** The place of the smallest in which every name can be read. */
const readable = (names: string[]) => (isScale(names) ? 0 : CELLS.findIndex((cell) => cell >= line()));

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

/** A heatmap: one tab stop, arrows move the cell, the cell is spoken, it can be zoomed, and read as a table. */
export function Heatmap(props: Matrix) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const table = useSignal(false);
  // Steps from the size that fits.
  const zoom = useSignal(0);
  const { numbers, roots, signed, turned } = props;
  const [rows, columns] = turned ? [props.columns, props.rows] : [props.rows, props.columns];
  const [r, c] = turned ? [props.chosen[1], props.chosen[0]] : props.chosen;
  const [downIs, acrossIs] = turned ? [props.axes?.[1], props.axes?.[0]] : (props.axes ?? []);
  const [beginDown, beginAcross] = turned ? [props.begin?.[1], props.begin?.[0]] : (props.begin ?? []);
  const choose = (row: number, column: number) => (turned ? props.onChoose(column, row) : props.onChoose(row, column));
  const place = (row: number, column: number) => (turned ? column * rows.length + row : row * columns.length + column);
  const { width, height } = viewport.value;
  const large = projector.value;
  const [outside, labelled] = large ? [60, 220] : width > 760 ? [240, 120] : [30, 120]; // map and margins; names
  const roomiest = large ? 72 : height > 950 ? 38 : 28;
  const [across, down] = [
    fitting(columns.length, (width - outside) * (props.room ?? 1) - labelled, roomiest),
    fitting(rows.length, (large ? 0.66 : 0.62) * height, roomiest),
  ];
  const most = signed ? (common.value && props.group) || largest(numbers) : 1;
  const sized = (names: string[], at: number, other: number) =>
    CELLS[clamp(Math.max(readable(names), Math.min(at, other + (props.square ? 0 : 5))) + zoom.value, CELLS.length)];
  const { plate } = props;
  const [wide, high] = plate
    ? turned
      ? [plate.row, plate.column]
      : [plate.column, plate.row]
    : [sized(columns, across, down), sized(rows, down, across)];
  const numbered = !plate && wide >= (large ? 62 : 38) && high >= line() && numbers;
  const at = (k: number) => place(Math.floor(k / columns.length), k % columns.length);
  const colour = (k: number): [number, number, number] => {
    if (roots && !signed) return shareColour(roots[at(k)] / 255);
    const value = numbers?.[at(k)] ?? 0;
    if (!signed) return shareColour(Math.sqrt(Math.max(0, value)));
    return Number.isFinite(value) ? signedColour(value / most) : hiddenColour();
  };
  useEffect(() => {
    if (!canvas.current) return;
    if (!numbered) {
      paint(canvas.current, rows.length, columns.length, colour);
      return;
    }
    const ratio = window.devicePixelRatio || 1;
    canvas.current.width = columns.length * wide * ratio;
    canvas.current.height = rows.length * high * ratio;
    const context = canvas.current.getContext("2d")!;
    context.scale(ratio, ratio);
    context.font = `${Math.min(24, Math.floor(wide / 3.4))}px system-ui, sans-serif`; // five characters fit
    context.textAlign = "center";
    for (let k = 0; k < rows.length * columns.length; k++) {
      const shade = colour(k),
        [x, y] = [(k % columns.length) * wide, Math.floor(k / columns.length) * high];
      context.fillStyle = css(shade);
      context.fillRect(x, y, wide, high);
      context.fillStyle = inkOn(shade);
      context.fillText(brief(numbers[at(k)]), x + wide / 2, y + high / 2 + line() / 3);
    }
  }, [numbers, roots, signed, turned, wide, high, numbered, table.value, most, dark.value]);
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
  const spoken = plate
    ? `[${isolate(rows[r])}, ${isolate(columns[c])}] = ${value}`
    : `${isolate(props.rows[props.chosen[0]])} → ${isolate(props.columns[props.chosen[1]])}: ${value}`;
  const lettersIn = (cell: number) => Math.max(projector.value ? 24 : 11, Math.min(24, 0.62 * cell));
  const text = (cell: number) => `${lettersIn(cell)}px`;
  // Where names are taller than cells, each stands for some, and the chosen one is always there.
  const every = (cell: number) => Math.ceil(line() / cell);
  const above = useMemo(
    () =>
      columns.map((name, j) => (
        <span key={j} class={part(j, beginAcross)} style={{ width: `${wide}px`, fontSize: text(wide) }}>
          {j % every(wide) === 0 && (
            <i>
              <bdi>{name}</bdi>
            </i>
          )}
        </span>
      )),
    [columns, wide, beginAcross, projector.value],
  );
  const beside = useMemo(
    () =>
      rows.map((name, i) => (
        <span
          key={i}
          class={part(i, beginDown)}
          style={{ height: `${high}px`, lineHeight: `${Math.max(line(), high)}px`, fontSize: text(high) }}
        >
          {i % every(high) === 0 && <bdi>{name}</bdi>}
        </span>
      )),
    [rows, high, beginDown, projector.value],
  );
  const letters = lettersIn(wide);
  const headHeight = useMemo(() => {
    const names = 16 + (0.82 * letters * Math.min(LONGEST_NAME, widest(columns))) / 13; // they stand at 55°
    return props.axes ? Math.max(names, 3.2 * line()) : names;
  }, [columns, letters]);
  const csv = () =>
    csvOf([["", ...columns], ...rows.map((name, i) => [name, ...columns.map((_, j) => numbers![place(i, j)])])]);
  const svg = () => {
    const cells = rows.flatMap((_, i) =>
      columns.map(
        (_, j) =>
          `<rect x="${j * wide}" y="${i * high}" width="${wide}" height="${high}" fill="${css(colour(i * columns.length + j))}"/>`,
      ),
    );
    const name = (text: string, rest: string) => `<text font-size="12" ${rest}>${escaped(isolate(text))}</text>`;
    const names = [
      ...rows.map((text, i) =>
        i % every(high) ? "" : name(text, `x="-6" y="${(i + 0.5) * high + 4}" text-anchor="end"`),
      ),
      ...columns.map((text, j) =>
        j % every(wide) ? "" : name(text, `transform="translate(${(j + 0.5) * wide},-4) rotate(-55)"`),
      ),
    ];
    const ink = getComputedStyle(document.body).color;
    const [left, top] = [widest(rows) + 16, headHeight + 30];
    const [across, down] = [left + columns.length * wide + 0.6 * widest(columns) + 10, top + rows.length * high + 10];
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${across}" height="${down}" font-family="sans-serif" fill="${ink}"><text x="8" y="20" font-size="15">${escaped(isolate(props.title))}</text><g transform="translate(${left},${top})">${cells.join("")}${names.join("")}</g></svg>`;
  };
  return (
    <figure class={plate ? "matrix plate" : "matrix"}>
      <figcaption>
        <Letters of={props.title} />{" "}
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
          {!table.value && !plate && (
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
          <Save name={props.title} svg={svg} csv={numbers ? csv : null} />
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
          <div
            class="plot"
            style={{ paddingRight: plate ? "0" : `${0.6 * Math.min(LONGEST_NAME, widest(columns))}px` }}
          >
            {!plate && (
              <div class="above" aria-hidden="true" style={{ height: `${headHeight}px` }}>
                {acrossIs && (
                  <small class="axes">
                    → {acrossIs}
                    <br />↓ {downIs}
                  </small>
                )}
                {above}
                <span class="lit" style={{ left: `${c * wide}px`, width: `${wide}px`, fontSize: text(wide) }}>
                  <i>
                    <bdi>{columns[c]}</bdi>
                  </i>
                </span>
              </div>
            )}
            <div class="beside">
              {!plate && (
                <div class="names" aria-hidden="true">
                  {beside}
                  <span
                    class="lit"
                    style={{
                      top: `${(r + 0.5) * high - Math.max(line(), high) / 2}px`,
                      height: `${Math.max(line(), high)}px`,
                      lineHeight: `${Math.max(line(), high)}px`,
                      fontSize: text(high),
                    }}
                  >
                    <bdi>{rows[r]}</bdi>
                  </span>
                </div>
              )}
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
                {plate?.lit !== "column" && (
                  <span class="cross" style={{ left: "0", right: "0", top: `${r * high}px`, height: `${high}px` }} />
                )}
                {plate?.lit !== "row" && (
                  <span class="cross" style={{ top: "0", bottom: "0", left: `${c * wide}px`, width: `${wide}px` }} />
                )}
              </div>
            </div>
          </div>
        </div>
      )}
      {!table.value && !plate && <Legend shares={!signed} most={most} grouped={signed && props.group !== undefined} />}
      <p class="spoken" aria-live="polite">
        {spoken}
      </p>
    </figure>
  );
}

/** The names of coordinates: their numbers. */
export const coordinates = (length: number) => Array.from({ length }, (_, k) => String(k));
