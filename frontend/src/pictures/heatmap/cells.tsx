// The cells of a heatmap, on a canvas, with the chosen one.
import { useEffect, useRef } from "preact/hooks";
import { css, dark, inkOn } from "../../colours";
import { clamp } from "../../state";
import { brief } from "../../words";
import { paint } from "../canvas";
import { type Cell, isReadable, lineHeight } from "./cell";
import { colourAt, type Drawn, type Matrix } from "./matrix";

const ARROWS: Record<string, [number, number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

/** `most`: the largest number, by which colours are chosen; `label`: the picture and its chosen number in words. */
export function Cells(props: { of: Matrix; drawn: Drawn; cell: Cell; most: number; label: string }) {
  const { of, drawn, cell, most } = props;
  const { down, across, choose } = drawn;
  const { wide, high } = cell;
  const canvas = useRef<HTMLCanvasElement>(null);
  const written = !of.plate && isReadable(cell) && of.numbers;
  useEffect(() => {
    if (written) write(canvas.current!, of, drawn, cell, most);
    else {
      const columns = across.names.length;
      const place = (k: number) => drawn.place(Math.floor(k / columns), k % columns);
      paint(canvas.current!, down.names.length, columns, (k) => colourAt(of, most, place(k)));
    }
  }, [of.numbers, of.roots, of.signed, of.turned, wide, high, written, most, dark.value]);
  const under = (event: MouseEvent): [number, number] => {
    const box = canvas.current!.getBoundingClientRect();
    const [rows, columns] = [down.names.length, across.names.length];
    return [
      clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), rows),
      clamp(Math.floor(((event.clientX - box.left) / box.width) * columns), columns),
    ];
  };
  const move = (event: KeyboardEvent) => {
    const step = ARROWS[event.key];
    if (!step) return;
    event.preventDefault();
    choose(clamp(down.chosen + step[0], down.names.length), clamp(across.chosen + step[1], across.names.length));
  };
  return (
    <div class="cells" style={{ width: `${across.names.length * wide}px`, height: `${down.names.length * high}px` }}>
      <canvas
        ref={canvas}
        tabIndex={0}
        role="img"
        aria-label={props.label}
        onClick={(event) => choose(...under(event))}
        onMouseMove={(event) => event.buttons === 0 && choose(...under(event))}
        onKeyDown={move}
      />
      {down.begin ? <span class="edge" style={{ left: "0", right: "0", top: `${down.begin * high}px` }} /> : null}
      {across.begin ? <span class="edge" style={{ top: "0", bottom: "0", left: `${across.begin * wide}px` }} /> : null}
      {of.plate?.lit !== "column" && (
        <span class="cross" style={{ left: "0", right: "0", top: `${down.chosen * high}px`, height: `${high}px` }} />
      )}
      {of.plate?.lit !== "row" && (
        <span class="cross" style={{ top: "0", bottom: "0", left: `${across.chosen * wide}px`, width: `${wide}px` }} />
      )}
    </div>
  );
}

/** Cells with their numbers. */
function write(canvas: HTMLCanvasElement, of: Matrix, { down, across, place }: Drawn, cell: Cell, most: number): void {
  const { wide, high } = cell;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = across.names.length * wide * ratio;
  canvas.height = down.names.length * high * ratio;
  const context = canvas.getContext("2d")!;
  context.scale(ratio, ratio);
  context.font = `${Math.min(24, Math.floor(wide / 3.4))}px system-ui, sans-serif`; // five characters fit
  context.textAlign = "center";
  for (const row of down.names.keys())
    for (const column of across.names.keys()) {
      const colour = colourAt(of, most, place(row, column));
      const [x, y] = [column * wide, row * high];
      context.fillStyle = css(colour);
      context.fillRect(x, y, wide, high);
      context.fillStyle = inkOn(colour);
      context.fillText(brief(of.numbers![place(row, column)]), x + wide / 2, y + high / 2 + lineHeight() / 3);
    }
}
