// What one can read, point at and click in the running picture, before its canvas.
import { useRef } from "preact/hooks";
import { begin, writes } from "../data";
import { pressable } from "../parts";
import { clamp, type Stack, select } from "../state";
import { say } from "../words";
import { legible, letters } from "./letters";
import { described, isMissing, lacks, remark, title } from "./parts";
import type { Placed, Plan, Tower } from "./plan";
import type { Row } from "./rows";

export interface Looked {
  row: Row | null;
  stack: Stack;
  position: number | null;
}

interface Pointing {
  looked: Looked | null;
  onLook: (looked: Looked | null) => void;
  onStep: (t: number) => void;
}

/** The names of boxes, and where one can point or click: before the canvas. */
export function Signs(props: Pointing & { plan: Plan; onOpen: (row: Row, stack: Stack) => void }) {
  const { plan, onOpen, ...pointing } = props;
  const { width, height } = plan;
  const tapped = useRef<Row | null>(null);
  /** A finger cannot point: its first tap looks, and the second one opens. */
  const click = (event: MouseEvent, row: Row, stack: Stack) => {
    const touched = event instanceof PointerEvent && event.pointerType === "touch";
    if (!touched || tapped.current === row) {
      onOpen(row, stack);
      return;
    }
    tapped.current = row;
    props.onLook({ row, stack, position: null });
  };
  return (
    <svg
      class="signs"
      width={width}
      height={height}
      viewBox={`0 0 ${width} ${height}`}
      role="group"
      aria-label={say("view_whole")}
    >
      {plan.towers.map((tower) => {
        const { stack, side } = tower;
        const boxes = tower.rows.filter((row) => row.kind === "box");
        const lines = linesOf(tower, boxes, plan);
        const named = new Set(lines.map((line) => !line.remark && line.row));
        const place = { plan, tower };
        return (
          <g key={stack} class={side}>
            <Columns {...pointing} tower={tower} />
            {boxes.map((row) => (
              <Sign
                key={row.name + row.part}
                {...place}
                row={row}
                named={named.has(row)}
                lit={props.looked?.row === row}
                onLook={(looks) => props.onLook(looks ? { row, stack, position: null } : null)}
                onOpen={() => onOpen(row, stack)}
                onClick={(event) => click(event, row, stack)}
              />
            ))}
            {lines.map((line) => line.remark && <Remark key={line.row.name} {...place} line={line} />)}
            {side !== "inside" &&
              boxes.map((row) => row.part === "self" && <Layer key={row.name} {...place} row={row} />)}
          </g>
        );
      })}
    </svg>
  );
}

/** The columns of a stack: a position is pointed at, or clicked. */
function Columns({ tower, looked, onLook, onStep }: Pointing & { tower: Tower }) {
  const { stack, left, right, top, foot } = tower;
  return (
    <rect
      class="columns"
      x={left}
      y={top}
      width={right - left}
      height={foot - top}
      onPointerMove={(event) => {
        const x = event.clientX - event.currentTarget.getBoundingClientRect().left + left;
        onLook({ row: null, stack, position: clamp(Math.round((x - tower.at(0)) / tower.pitch), tower.count) });
      }}
      onPointerLeave={() => onLook(null)}
      onClick={() => {
        if (looked?.position == null) return;
        if (stack === "decoder") onStep(looked.position - begin());
        else select(writes() ? { i: looked.position } : { i: looked.position, t: looked.position });
      }}
    />
  );
}

interface Place {
  plan: Plan;
  tower: Tower;
}

/** Where the names of a stack's boxes begin, or end. */
const edge = ({ plan: { em }, tower: { side, left, right } }: Place) =>
  ({ inside: right - 0.2 * em, left: left - 1.6 * em, right: right + 1.6 * em })[side];

/** A box; `named`: there is room for its name. */
function Sign(
  props: Place & {
    row: Placed;
    named: boolean;
    lit: boolean;
    onLook: (looks: boolean) => void;
    onOpen: () => void;
    onClick: (event: MouseEvent) => void;
  },
) {
  const { plan, tower, row, onLook } = props;
  const { em, names } = plan;
  const { stack, side, left, right } = tower;
  const x = edge(props);
  return (
    <g
      class={`sign ${row.part} ${props.lit ? "lit" : ""} ${isMissing(row) ? "gone" : ""}`}
      {...pressable(props.onOpen)}
      data-name={row.name}
      aria-label={described(row, stack)}
      onPointerEnter={(event) => event.pointerType === "mouse" && onLook(true)}
      onPointerLeave={() => onLook(false)}
      onFocus={() => onLook(true)}
      onBlur={() => onLook(false)}
      onClick={props.onClick}
    >
      <rect
        x={left - 0.3 * em}
        width={right - left + 0.6 * em}
        y={row.y}
        height={row.height}
        rx={Math.min(0.35 * em, row.height / 2)}
      />
      {side !== "inside" && (
        <rect
          class="hit"
          x={side === "left" ? x - names : x - 0.4 * em}
          width={names + 0.4 * em}
          y={row.y - 0.1 * em}
          height={Math.max(row.height, 0.9 * em)}
        />
      )}
      {props.named && (
        <text
          x={x}
          y={row.y + (side === "inside" && row.height > 2 * em ? 0.75 * em : row.height / 2)}
          font-size={letters(plan, side === "inside" ? 0.66 : 0.78)}
          text-anchor={side === "right" ? "start" : "end"}
          dominant-baseline="central"
        >
          {title(row, stack)}
        </text>
      )}
    </g>
  );
}

/** What more there is to say of a box. */
const Remark = (props: Place & { line: Line }) => (
  <text
    class={`remark ${lacks(props.line.row).length ? "lack" : ""}`}
    x={edge(props)}
    y={props.line.y}
    font-size={letters(props.plan, 0.66)}
    text-anchor={props.tower.side === "left" ? "end" : "start"}
    dominant-baseline="central"
  >
    {props.line.remark}
  </text>
);

/** The number of a block, on the other side than the names of its boxes. */
function Layer({ plan, tower: { side, left, right }, row }: Place & { row: Placed }) {
  const { em } = plan;
  return (
    <text
      class="layer"
      x={side === "left" ? right + 0.8 * em : left - 0.8 * em}
      y={row.y + row.height / 2}
      text-anchor={side === "left" ? "start" : "end"}
      dominant-baseline="central"
      font-size={letters(plan, 0.66)}
    >
      {row.layer}
    </text>
  );
}

interface Line {
  row: Placed;
  y: number;
  remark?: string;
}

/** The names of a stack's boxes for which there is room, and what more there is to say of them. */
function linesOf(tower: Tower, boxes: Placed[], of: Plan): Line[] {
  const names = boxes.map((row) => ({ row, y: row.y + row.height / 2 }));
  if (tower.side === "inside") return names;
  const height = letters(of, 0.78);
  const minor = (row: Row) => ["norm", "add", "add_norm"].includes(row.part) && !isMissing(row);
  const more = names.flatMap((line) => {
    const more = remark(line.row);
    return more ? [{ ...line, y: line.y + height + 1, remark: more }] : [];
  });
  return legible(
    [
      ...names.filter(({ row }) => !minor(row)),
      ...more.filter(({ row }) => lacks(row).length > 0),
      ...names.filter(({ row }) => minor(row)),
      ...more,
    ],
    height,
    tower.name,
  );
}
