// What the views are made of: tokens, heatmaps, strips, sliders, formulas.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { css, shareColour, signedColour } from "./colours";
import { again, busy, model, plain, served, trace, writes } from "./data";
import formulas from "./formulas.json";
import type { Tokens, WhatIf } from "./wire";
import { join, say, show } from "./words";

/** What a piece looks like to a person. */
export const piece = (text: string) => text.replaceAll("▁", "␣");

const known = new WeakMap<Tokens, string[]>();

/** The pieces as people read them; those that are bytes of one character show that character. */
export function labels(tokens: Tokens): string[] {
  const found = known.get(tokens) ?? tokens.pieces.map(piece);
  if (known.has(tokens)) return found;
  known.set(tokens, found);
  for (const [first, end, character] of tokens.characters)
    for (let k = first; k < end; k++) found[k] = end - first > 1 ? `${character}${"¹²³⁴"[k - first]}` : character;
  return found;
}

const pen = document.createElement("canvas").getContext("2d")!;
/** The width of the longest of these in pixels, written bold. */
export function widest(names: string[]): number {
  pen.font = "bold 13px system-ui, sans-serif";
  return names.reduce((most, name) => Math.max(most, pen.measureText(name).width), 0);
}

/** A head's name for people. */
export function headName(name: string, head: number): string {
  const [stack, layer, kind] = name.split(".") as ["encoder" | "decoder", string, "self" | "cross"];
  return say("head_name", { stack: say(stack), layer, kind: say(kind), head });
}

/** Which part of the decoder shape's one sequence a position is in; `begin` is where BOS stands. */
export const part = (k: number, begin = 0) => (!begin ? "" : k < begin ? "of-source" : k === begin ? "of-begin" : "of-target");

const clamp = (value: number, below: number) => Math.max(0, Math.min(below - 1, value));

export function TokenRow(props: { tokens: Tokens; chosen: number; onChoose: (k: number) => void; title: string; begin?: number }) {
  const names = labels(props.tokens);
  const choose = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    props.onChoose(clamp(props.chosen + step, names.length));
  };
  return (
    <div class="tokens" role="listbox" aria-label={props.title} tabIndex={0} onKeyDown={choose} aria-activedescendant={`${props.title}-${props.chosen}`}>
      {names.map((name, k) => (
        <span key={k} id={`${props.title}-${k}`} role="option" aria-selected={k === props.chosen}
          class={`token ${k === props.chosen ? "chosen" : ""} ${part(k, props.begin)}`} onClick={() => props.onChoose(k)}>
          {name}<small>{props.tokens.ids[k]}</small>
        </span>
      ))}
    </div>
  );
}

const SMALL = 64;
/** How many cells of a side are one in a thumbnail, so that no side has more than SMALL. */
export const pooling = (rows: number, columns: number) => Math.ceil(Math.max(rows, columns) / SMALL);

/** The largest of each square of cells. */
function pooled(roots: Uint8Array, rows: number, columns: number): [Uint8Array, number, number] {
  const by = pooling(rows, columns);
  const [high, wide] = [Math.ceil(rows / by), Math.ceil(columns / by)];
  const found = new Uint8Array(high * wide);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) {
      const at = Math.floor(r / by) * wide + Math.floor(c / by);
      found[at] = Math.max(found[at], roots[r * columns + c]);
    }
  return [found, high, wide];
}

export function Thumbnail(props: { roots: Uint8Array; rows: number; columns: number; turned: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [picture, rows, columns] = useMemo(() => pooled(props.roots, props.rows, props.columns), [props.roots, props.rows, props.columns]);
  const [high, wide] = props.turned ? [columns, rows] : [rows, columns];
  const at = (k: number) => (props.turned ? (k % wide) * columns + Math.floor(k / wide) : k);
  useEffect(() => paint(canvas.current!, high, wide, (k) => shareColour(picture[at(k)] / 255)), [picture, props.turned]);
  const cell = Math.max(1, Math.min(5, Math.floor(128 / wide)));
  return <canvas ref={canvas} class="thumbnail" style={{ width: `${wide * cell}px`, height: `${high * cell}px` }} aria-hidden="true" />;
}

/** One pixel a cell; the style sheet makes it larger without smoothing. */
function paint(canvas: HTMLCanvasElement, rows: number, columns: number, colour: (k: number) => number[]): void {
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  for (let k = 0; k < rows * columns; k++) {
    const [red, green, blue] = colour(k);
    image.data.set([red, green, blue, 255], 4 * k);
  }
  canvas.getContext("2d")!.putImageData(image, 0, 0);
}

const CELLS = [2, 3, 4, 6, 9, 14, 20, 28, 38, 52];
const LEGIBLE = 9;
const LONGEST_NAME = 170;

/** The place in CELLS of the largest that leaves `count` of them within `pixels`. */
const fitting = (count: number, pixels: number) => CELLS.reduce((best, cell, k) => (cell * count <= pixels && cell <= 28 ? k : best), 0);

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
  const sized = (at: number, other: number) => CELLS[clamp(Math.min(at, other + (props.square ? 0 : 5)) + zoom.value, CELLS.length)];
  const [wide, high] = [sized(across, down), sized(down, across)];
  const numbered = wide >= 38 && high >= 14 && numbers;
  useEffect(() => {
    if (!canvas.current) return;
    let largest = 1e-9;
    if (numbers && signed) for (let k = 0; k < numbers.length; k++) if (Number.isFinite(numbers[k])) largest = Math.max(largest, Math.abs(numbers[k]));
    const at = (k: number) => place(Math.floor(k / columns.length), k % columns.length);
    const colour = (k: number): number[] => {
      if (roots && !signed) return shareColour(roots[at(k)] / 255);
      const value = numbers?.[at(k)] ?? 0;
      if (!signed) return shareColour(Math.sqrt(Math.max(0, value)));
      return Number.isFinite(value) ? signedColour(value / largest) : [187, 187, 187];
    };
    if (!numbered) { paint(canvas.current, rows.length, columns.length, colour); return; }
    const ratio = window.devicePixelRatio || 1;
    canvas.current.width = columns.length * wide * ratio;
    canvas.current.height = rows.length * high * ratio;
    const context = canvas.current.getContext("2d")!;
    context.scale(ratio, ratio);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    for (let k = 0; k < rows.length * columns.length; k++) {
      const shade = colour(k) as [number, number, number], [x, y] = [(k % columns.length) * wide, Math.floor(k / columns.length) * high];
      context.fillStyle = css(shade);
      context.fillRect(x, y, wide, high);
      context.fillStyle = shade[0] * 0.3 + shade[1] * 0.59 + shade[2] * 0.11 > 125 ? "#000" : "#fff";
      context.fillText(show(numbers[at(k)], 2), x + wide / 2, y + high / 2 + 4);
    }
  }, [numbers, roots, signed, turned, wide, high, numbered, table.value]);
  const under = (event: MouseEvent): [number, number] => {
    const box = canvas.current!.getBoundingClientRect();
    return [clamp(Math.floor(((event.clientY - box.top) / box.height) * rows.length), rows.length),
      clamp(Math.floor(((event.clientX - box.left) / box.width) * columns.length), columns.length)];
  };
  const move = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    choose(clamp(r + step[0], rows.length), clamp(c + step[1], columns.length));
  };
  const value = numbers ? show(numbers[place(r, c)], 4) : numbers === null ? say("no_numbers") : "…";
  const spoken = `${props.rows[props.chosen[0]]} → ${props.columns[props.chosen[1]]}: ${value}`;
  const text = (cell: number) => `${Math.max(LEGIBLE, Math.min(13, cell))}px`;
  const above = useMemo(() => columns.map((name, j) => <span key={j} class={part(j, beginAcross)} style={{ width: `${wide}px`, fontSize: text(wide) }}>{wide >= LEGIBLE && <i>{name}</i>}</span>), [columns, wide, beginAcross]);
  const beside = useMemo(() => rows.map((name, i) => <span key={i} class={part(i, beginDown)} style={{ height: `${high}px`, lineHeight: `${high}px`, fontSize: text(high) }}>{high >= LEGIBLE && name}</span>), [rows, high, beginDown]);
  const headHeight = useMemo(() => 16 + 0.82 * Math.min(LONGEST_NAME, widest(columns)), [columns]); // they stand at 55°
  return (
    <figure class="matrix">
      <figcaption>{props.title}{" "}
        <span class="tools">
          <button type="button" class="link" onClick={() => { table.value = !table.value; }} disabled={!numbers}>{say(table.value ? "as_picture" : "as_table")}</button>
          {!table.value && <>
            <button type="button" aria-label={say("smaller")} title={say("smaller")} disabled={wide === CELLS[0] && high === CELLS[0]} onClick={() => { zoom.value -= 1; }}>−</button>
            <button type="button" aria-label={say("larger")} title={say("larger")} disabled={Math.min(wide, high) === CELLS.at(-1)} onClick={() => { zoom.value += 1; }}>+</button>
          </>}
        </span>
      </figcaption>
      {table.value && numbers ? (
        <div class="scroll" tabIndex={0} role="region" aria-label={props.title}><table>
          <thead><tr><td />{columns.map((name, j) => <th key={j} scope="col">{name}</th>)}</tr></thead>
          <tbody>{rows.map((name, i) => (
            <tr key={i}><th scope="row">{name}</th>{columns.map((_, j) => <td key={j}>{show(numbers[place(i, j)])}</td>)}</tr>
          ))}</tbody>
        </table></div>
      ) : (
        <div class="scroll">
          <div class="plot">
            <div class="above" aria-hidden="true" style={{ height: `${headHeight}px` }}>
              {above}<span class="lit" style={{ left: `${c * wide}px`, width: `${wide}px`, fontSize: text(wide) }}><i>{columns[c]}</i></span>
            </div>
            <div class="beside">
              <div class="names" aria-hidden="true">
                {beside}<span class="lit" style={{ top: `${(r + 0.5) * high - 8}px`, height: "16px", lineHeight: "16px", fontSize: text(high) }}>{rows[r]}</span>
              </div>
              <div class="cells" style={{ width: `${columns.length * wide}px`, height: `${rows.length * high}px` }}>
                <canvas ref={canvas} tabIndex={0} role="img" aria-label={`${props.title}. ${spoken}`}
                  onClick={(event) => choose(...under(event))} onMouseMove={(event) => event.buttons === 0 && choose(...under(event))} onKeyDown={move} />
                {beginDown ? <span class="edge" style={{ left: "0", right: "0", top: `${beginDown * high}px` }} /> : null}
                {beginAcross ? <span class="edge" style={{ top: "0", bottom: "0", left: `${beginAcross * wide}px` }} /> : null}
                <span class="cross" style={{ left: "0", right: "0", top: `${r * high}px`, height: `${high}px` }} />
                <span class="cross" style={{ top: "0", bottom: "0", left: `${c * wide}px`, width: `${wide}px` }} />
              </div>
            </div>
          </div>
        </div>
      )}
      <p class="spoken" aria-live="polite">{spoken}</p>
    </figure>
  );
}

/** One vector as a strip of signed colours. */
export function Strip(props: { values: Float32Array; title: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { buffer, byteOffset, length } = props.values;
  useEffect(() => {
    const largest = props.values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
    paint(canvas.current!, 1, props.values.length, (k) => signedColour(props.values[k] / largest));
  }, [buffer, byteOffset, length]);
  return <canvas ref={canvas} class="strip" role="img" aria-label={props.title} title={props.title} />;
}

export function Slider(props: { title: string; value: number; most: number; step?: number; least?: number; onMove: (value: number) => void; shown?: string; disabled?: boolean }) {
  return (
    <label class="slider">{props.title}
      <input type="range" min={props.least ?? 0} max={props.most} step={props.step ?? 1} value={props.value} disabled={props.disabled}
        aria-valuetext={props.shown} onInput={(event) => props.onMove(Number(event.currentTarget.value))} />
      <output>{props.shown ?? props.value}</output>
    </label>
  );
}

export function Choice<T extends string | number>(props: { title: string; value: T; of: readonly (readonly [T, string])[]; onChoose: (value: string) => void }) {
  return (
    <label>{props.title} <select value={props.value} onChange={(event) => props.onChoose(event.currentTarget.value)}>
      {props.of.map(([value, name]) => <option key={value} value={value}>{name}</option>)}
    </select></label>
  );
}

export const upTo = (count: number) => Array.from({ length: count }, (_, k) => [k, String(k)] as const);

/** A button that asks the model what would be if. */
export function Ask(props: { change: Partial<WhatIf>; disabled?: boolean; children: ComponentChildren }) {
  return (
    <p><button type="button" disabled={!served || busy.value || props.disabled} onClick={() => again(props.change)}>{props.children}</button>
      {!served && <em> {say("needs_server")}</em>}</p>
  );
}

/** What is not as the model has it; shown above every view. */
export function Hypothetical() {
  const { what_if: { heads_off, positions_off, mask_lifted, prefix }, decoding } = trace.value!;
  const { beam, length_penalty } = model.value!.decoding;
  const changes = [
    ...heads_off.map(([name, head]) => say("head_is_off", { head: headName(name, head) })),
    ...(positions_off ? [say("positions_are_off")] : []),
    ...(mask_lifted ? [say("mask_is_lifted")] : []),
    ...(prefix.length ? [say("prefix_is_given", { prefix: trace.value!.replay.target_out.pieces.slice(0, prefix.length).map(piece).join(" ") })] : []),
    ...(writes() && decoding.beam !== beam ? [say("beam_is", { now: decoding.beam, own: beam })] : []),
    ...(writes() && decoding.length_penalty !== length_penalty ? [say("penalty_is", { now: decoding.length_penalty, own: length_penalty })] : []),
  ];
  if (!changes.length) return null;
  return (
    <p class="changed" role="status"><b>{say("hypothetical")}</b>{join(["", ...changes])}{" "}
      {served && <button type="button" onClick={() => again(plain())}>{say("as_it_is")}</button>}</p>
  );
}

/** `variant`: where there is one of that name. */
export function Formula(props: { name: string; variant?: string }) {
  const all = formulas as Record<string, string>;
  const drawn = all[`${props.name}.${props.variant}`] ?? all[props.name];
  return <p class="formula" tabIndex={0} role="group" aria-label={say("formula")} dangerouslySetInnerHTML={{ __html: drawn }} />;
}

export const Missing = (props: { children: ComponentChildren }) => <p class="missing">{props.children}</p>;

/** In the place of a tensor that is on its way (undefined), or that was left out (null). */
export const Absent = (props: { of: null | undefined; title?: string }) => (
  <Missing>{props.title && `${props.title}: `}{props.of === null ? say("left_out") : "…"}</Missing>
);
