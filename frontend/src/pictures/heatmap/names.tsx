// The names of rows and columns, at the edges of a heatmap.
import { useMemo } from "preact/hooks";
import { projector } from "../../keys";
import { widest } from "../canvas";
import { part } from "../tokens";
import { type Cell, every, lettersAt, lineHeight } from "./cell";
import type { Drawn } from "./matrix";

/** Longer names are cut off. */
const LONGEST_NAME = 170;

/** How far the names of columns reach beyond the last one: they stand at 55°. */
export const overhang = (names: string[]) => 0.6 * Math.min(LONGEST_NAME, widest(names));

/** How high the names of columns reach. */
export function headHeight({ across }: Drawn, { wide }: Cell): number {
  const names = 16 + (0.82 * lettersAt(wide) * Math.min(LONGEST_NAME, widest(across.names))) / 13;
  return across.axis ? Math.max(names, 3.2 * lineHeight()) : names;
}

/** The names of columns; all but the chosen one stay as they are while one points at cells. */
export function ColumnNames(props: { drawn: Drawn; cell: Cell }) {
  const {
    drawn: { down, across },
    cell: { wide },
  } = props;
  const { names, chosen, begin } = across;
  const style = { width: `${wide}px`, fontSize: `${lettersAt(wide)}px` };
  const height = useMemo(() => headHeight(props.drawn, props.cell), [names, wide, projector.value]);
  const all = useMemo(
    () =>
      names.map((name, k) => (
        <span key={k} class={part(k, begin)} style={style}>
          {k % every(wide) === 0 && (
            <i>
              <bdi>{name}</bdi>
            </i>
          )}
        </span>
      )),
    [names, wide, begin, projector.value],
  );
  return (
    <div class="above" aria-hidden="true" style={{ height: `${height}px` }}>
      {across.axis && (
        <small class="axes">
          → {across.axis}
          <br />↓ {down.axis}
        </small>
      )}
      {all}
      <span class="lit" style={{ left: `${chosen * wide}px`, ...style }}>
        <i>
          <bdi>{names[chosen]}</bdi>
        </i>
      </span>
    </div>
  );
}

/** The names of rows. */
export function RowNames(props: { drawn: Drawn; cell: Cell }) {
  const { high } = props.cell;
  const { names, chosen, begin } = props.drawn.down;
  const line = Math.max(lineHeight(), high);
  const letters = { lineHeight: `${line}px`, fontSize: `${lettersAt(high)}px` };
  const all = useMemo(
    () =>
      names.map((name, k) => (
        <span key={k} class={part(k, begin)} style={{ height: `${high}px`, ...letters }}>
          {k % every(high) === 0 && <bdi>{name}</bdi>}
        </span>
      )),
    [names, high, begin, projector.value],
  );
  return (
    <div class="names" aria-hidden="true">
      {all}
      <span class="lit" style={{ top: `${(chosen + 0.5) * high - line / 2}px`, height: `${line}px`, ...letters }}>
        <bdi>{names[chosen]}</bdi>
      </span>
    </div>
  );
}
