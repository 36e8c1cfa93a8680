// A small picture of the weights of one head.
import { useEffect, useMemo, useRef } from "preact/hooks";
import { dark, shareColour } from "../colours";
import { paint } from "./canvas";

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

export function Thumbnail(props: { roots: Uint8Array; rows: number; columns: number; turned: boolean; side: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [picture, rows, columns] = useMemo(
    () => pooled(props.roots, props.rows, props.columns),
    [props.roots, props.rows, props.columns],
  );
  const [high, wide] = props.turned ? [columns, rows] : [rows, columns];
  const at = (k: number) => (props.turned ? (k % wide) * columns + Math.floor(k / wide) : k);
  useEffect(
    () => paint(canvas.current!, high, wide, (k) => shareColour(picture[at(k)] / 255)),
    [picture, props.turned, dark.value],
  );
  const cell = Math.max(1, Math.floor(props.side / Math.max(wide, high)));
  return (
    <canvas
      ref={canvas}
      class="thumbnail"
      style={{ width: `${wide * cell}px`, height: `${high * cell}px` }}
      aria-hidden="true"
    />
  );
}
