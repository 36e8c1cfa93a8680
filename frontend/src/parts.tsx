// What the views are made of: tokens, heatmaps, sliders, tables.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { css, shareColour, signedColour } from "./colours";
import type { Tokens } from "./data";
import formulas from "./formulas.json";
import { selection } from "./state";
import { say, show } from "./words";

/** What a piece looks like to a person; pieces that are bytes of one character show that character. */
export function labels(tokens: Tokens): string[] {
  const found = tokens.pieces.map((piece) => piece.replaceAll("▁", "␣"));
  for (const [first, end, character] of tokens.characters)
    for (let k = first; k < end; k++) found[k] = end - first > 1 ? `${character}${"¹²³⁴"[k - first]}` : character;
  return found;
}

export function TokenRow(props: { tokens: Tokens; chosen?: number; onChoose?: (k: number) => void; title: string }) {
  const names = labels(props.tokens);
  const choose = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step || !props.onChoose) return;
    event.preventDefault();
    props.onChoose(Math.max(0, Math.min(names.length - 1, (props.chosen ?? 0) + step)));
  };
  return (
    <div class="tokens" role="listbox" aria-label={props.title} tabIndex={0} onKeyDown={choose}
      aria-activedescendant={props.onChoose ? `${props.title}-${props.chosen}` : undefined}>
      {names.map((name, k) => (
        <span key={k} id={`${props.title}-${k}`} role="option" aria-selected={k === props.chosen}
          class={k === props.chosen ? "token chosen" : "token"} onClick={() => props.onChoose?.(k)}>
          {name}<small>{props.tokens.ids[k]}</small>
        </span>
      ))}
    </div>
  );
}

interface Matrix {
  title: string;
  rows: string[];
  columns: string[];
  /** Printed numbers, row by row; null where there are none at hand. */
  numbers: ArrayLike<number> | null;
  /** Square roots of shares as bytes, for the picture; or signed numbers, drawn by their own largest. */
  roots?: Uint8Array | null;
  signed?: boolean;
  chosen?: [number, number];
  onChoose?: (row: number, column: number) => void;
  small?: boolean;
}

/** A heatmap on a canvas: one tab stop, arrows move the cell, the cell is spoken, and it can be read as a table. */
export function Heatmap(props: Matrix) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const table = useSignal(false);
  const { rows, columns, numbers } = props;
  const cell = props.small ? 5 : Math.max(6, Math.min(34, Math.floor(620 / Math.max(columns.length, 1))));
  const [r, c] = props.chosen ?? [0, 0];
  let largest = 1e-9;
  if (numbers && props.signed)
    for (let k = 0; k < numbers.length; k++) if (Number.isFinite(numbers[k])) largest = Math.max(largest, Math.abs(numbers[k]));
  const colour = (k: number): string => {
    if (props.signed) {
      const value = numbers?.[k] ?? 0;
      return Number.isFinite(value) ? css(signedColour(value / largest)) : "#bbb";
    }
    return css(shareColour(props.roots ? props.roots[k] / 255 : Math.sqrt(Math.max(0, numbers?.[k] ?? 0))));
  };
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.current!.width = columns.length * cell * ratio;
    canvas.current!.height = rows.length * cell * ratio;
    context.scale(ratio, ratio);
    for (let i = 0; i < rows.length; i++)
      for (let j = 0; j < columns.length; j++) {
        const k = i * columns.length + j;
        context.fillStyle = colour(k);
        context.fillRect(j * cell, i * cell, cell - (cell > 8 ? 1 : 0), cell - (cell > 8 ? 1 : 0));
        if (cell >= 30 && numbers) {
          const dark = props.signed ? Math.abs(numbers[k] / largest) < 0.6 : numbers[k] > 0.25;
          context.fillStyle = dark ? "#111" : "#fff";
          context.font = "10px system-ui, sans-serif";
          context.textAlign = "center";
          context.fillText(Number.isFinite(numbers[k]) ? numbers[k].toFixed(2) : "−∞", (j + 0.5) * cell, (i + 0.62) * cell);
        }
      }
    if (props.chosen) {
      context.strokeStyle = "#e4007f";
      context.lineWidth = 2;
      context.strokeRect(0, r * cell, columns.length * cell, cell);
      context.strokeRect(c * cell, 0, cell, rows.length * cell);
    }
  });
  const at = (event: MouseEvent): [number, number] => {
    const box = canvas.current!.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns.length);
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows.length);
    return [Math.max(0, Math.min(rows.length - 1, row)), Math.max(0, Math.min(columns.length - 1, column))];
  };
  const move = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
    };
    const step = steps[event.key];
    if (!step || !props.onChoose) return;
    event.preventDefault();
    props.onChoose(
      Math.max(0, Math.min(rows.length - 1, r + step[0])), Math.max(0, Math.min(columns.length - 1, c + step[1])),
    );
  };
  const value = numbers ? show(numbers[r * columns.length + c], 4) : say("no_numbers");
  const spoken = props.chosen ? `${rows[r]} → ${columns[c]}: ${value}` : props.title;
  if (props.small)
    return <canvas ref={canvas} class="thumbnail" style={{ width: `${columns.length * cell}px`, height: `${rows.length * cell}px` }} aria-hidden="true" />;
  return (
    <figure class="matrix">
      <figcaption>{props.title}{" "}
        <button type="button" class="link" onClick={() => { table.value = !table.value; }}>
          {say(table.value ? "as_picture" : "as_table")}
        </button>
      </figcaption>
      {table.value && numbers ? (
        <div class="scroll" tabIndex={0} role="region" aria-label={props.title}><table>
          <thead><tr><td />{columns.map((name, j) => <th key={j} scope="col">{name}</th>)}</tr></thead>
          <tbody>{rows.map((name, i) => (
            <tr key={i}><th scope="row">{name}</th>
              {columns.map((_, j) => <td key={j}>{show(numbers[i * columns.length + j])}</td>)}</tr>
          ))}</tbody>
        </table></div>
      ) : (
        <div class="scroll">
          <div class="plot">
            <div class="above" aria-hidden="true">
              {columns.map((name, j) => <span key={j} style={{ width: `${cell}px` }} class={j === c && props.chosen ? "lit" : ""}><i>{name}</i></span>)}
            </div>
            <div class="beside">
              <div class="names" aria-hidden="true">
                {rows.map((name, i) => <span key={i} style={{ height: `${cell}px`, lineHeight: `${cell}px`, fontSize: `${Math.min(14, cell)}px` }} class={i === r && props.chosen ? "lit" : ""}>{name}</span>)}
              </div>
              <canvas ref={canvas} tabIndex={0} role="img" aria-label={`${props.title}. ${spoken}`}
                style={{ width: `${columns.length * cell}px`, height: `${rows.length * cell}px` }}
                onClick={(event) => props.onChoose?.(...at(event))}
                onMouseMove={(event) => props.onChoose && event.buttons === 0 && props.onChoose(...at(event))}
                onKeyDown={move} />
            </div>
          </div>
        </div>
      )}
      {props.chosen && <p class="spoken" aria-live="polite">{spoken}</p>}
    </figure>
  );
}

/** One vector as a strip of signed colours. */
export function Strip(props: { values: ArrayLike<number>; title: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    canvas.current!.width = props.values.length;
    canvas.current!.height = 1;
    const largest = Math.max(1e-9, ...Array.from(props.values, Math.abs));
    for (let k = 0; k < props.values.length; k++) {
      context.fillStyle = css(signedColour(props.values[k] / largest));
      context.fillRect(k, 0, 1, 1);
    }
  });
  return <canvas ref={canvas} class="strip" role="img" aria-label={props.title} title={props.title} />;
}

export function Slider(props: { title: string; value: number; most: number; step?: number; least?: number; onMove: (value: number) => void; shown?: string; disabled?: boolean }) {
  return (
    <label class="slider">{props.title}
      <input type="range" min={props.least ?? 0} max={props.most} step={props.step ?? 1} value={props.value} disabled={props.disabled}
        onInput={(event) => props.onMove(Number(event.currentTarget.value))} />
      <output>{props.shown ?? props.value}</output>
    </label>
  );
}

export function Formula(props: { name: string }) {
  const all = formulas as Record<string, string>;
  const drawn = all[props.name] ?? all[`${props.name}.${selection.value.notation === "torch" ? "torch" : "lecture"}`];
  return <p class="formula" tabIndex={0} role="group" aria-label={say("formula")} dangerouslySetInnerHTML={{ __html: drawn }} />;
}

export function Missing(props: { children?: ComponentChildren }) {
  return <p class="missing">{props.children ?? say("left_out")}</p>;
}
