// A matrix as a picture: one cell a number.
import { type Signal, useSignal } from "@preact/signals";
import { Letters } from "../../parts";
import { isolate, say, show } from "../../words";
import { largest } from "../canvas";
import { common, Legend } from "../legend";
import { Save } from "../save";
import { type Cell, cellOf, CELLS } from "./cell";
import { Cells } from "./cells";
import { csv, svg } from "./files";
import "./heatmap.css";
import { type Drawn, drawnAs, type Matrix } from "./matrix";
import { ColumnNames, overhang, RowNames } from "./names";

/** A heatmap: one tab stop, arrows move the cell, the cell is spoken, it can be zoomed, and read as a table. */
export function Heatmap(props: Matrix) {
  const asTable = useSignal(false);
  /** Steps from the size that fits. */
  const zoom = useSignal(0);
  const { title, numbers, signed, group, plate } = props;
  const drawn = drawnAs(props);
  const cell = cellOf(props, drawn, zoom.value);
  const most = signed ? (common.value && group) || largest(numbers) : 1;
  const spoken = inWords(props, drawn);
  return (
    <figure class={plate ? "matrix plate" : "matrix"}>
      <figcaption>
        <Letters of={title} />{" "}
        <span class="tools">
          <button
            type="button"
            class="link"
            onClick={() => {
              asTable.value = !asTable.value;
            }}
            disabled={!numbers}
          >
            {say(asTable.value ? "as_picture" : "as_table")}
          </button>
          {!asTable.value && !plate && <Zoom by={zoom} cell={cell} />}
          <Save
            name={title}
            svg={() => svg(props, drawn, cell, most)}
            csv={numbers ? () => csv(numbers, drawn) : null}
          />
        </span>
      </figcaption>
      {asTable.value && numbers ? (
        <Table title={title} numbers={numbers} drawn={drawn} />
      ) : (
        <div class="scroll">
          <div class="plot" style={{ paddingRight: plate ? "0" : `${overhang(drawn.across.names)}px` }}>
            {!plate && <ColumnNames drawn={drawn} cell={cell} />}
            <div class="beside">
              {!plate && <RowNames drawn={drawn} cell={cell} />}
              <Cells of={props} drawn={drawn} cell={cell} most={most} label={`${title}. ${spoken}`} />
            </div>
          </div>
        </div>
      )}
      {!asTable.value && !plate && <Legend shares={!signed} most={most} grouped={signed && group !== undefined} />}
      <p class="spoken" aria-live="polite">
        {spoken}
      </p>
    </figure>
  );
}

/** The chosen cell and its number; of a product, row and column as they are drawn. */
function inWords({ rows, columns, chosen, numbers, plate }: Matrix, { down, across, place }: Drawn): string {
  const value = numbers
    ? show(numbers[place(down.chosen, across.chosen)], 4)
    : numbers === null
      ? say("no_numbers")
      : "…";
  return plate
    ? `[${isolate(down.names[down.chosen])}, ${isolate(across.names[across.chosen])}] = ${value}`
    : `${isolate(rows[chosen[0]])} → ${isolate(columns[chosen[1]])}: ${value}`;
}

function Zoom(props: { by: Signal<number>; cell: Cell }) {
  const { wide, high } = props.cell;
  const button = (word: "smaller" | "larger", step: 1 | -1, disabled: boolean) => (
    <button
      type="button"
      aria-label={say(word)}
      title={say(word)}
      disabled={disabled}
      onClick={() => {
        props.by.value += step;
      }}
    >
      {step > 0 ? "+" : "−"}
    </button>
  );
  return (
    <>
      {button("smaller", -1, wide === CELLS[0] && high === CELLS[0])}
      {button("larger", 1, Math.min(wide, high) === CELLS.at(-1))}
    </>
  );
}

function Table(props: { title: string; numbers: ArrayLike<number>; drawn: Drawn }) {
  const { down, across, place } = props.drawn;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={props.title}>
      <table>
        <thead>
          <tr>
            <td />
            {across.names.map((name, column) => (
              <th key={column} scope="col">
                <bdi>{name}</bdi>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {down.names.map((name, row) => (
            <tr key={row}>
              <th scope="row">
                <bdi>{name}</bdi>
              </th>
              {across.names.map((_, column) => (
                <td key={column}>{show(props.numbers[place(row, column)])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The names of coordinates: their numbers. */
export const coordinates = (length: number) => Array.from({ length }, (_, k) => String(k));
