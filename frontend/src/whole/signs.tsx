// What one can read, point at and click in the running picture, before its canvas.
import { useRef } from "preact/hooks";
import { begin, writes } from "../data";
import { type Stack, select } from "../state";
import { say } from "../words";
import { legible, letters } from "./letters";
import { described, isMissing, lacks, remark, title } from "./parts";
import type { Placed, Plan, Tower } from "./plan";
import type { Part, Row } from "./rows";

export interface Looked {
  row: Row | null;
  stack: Stack;
  position: number | null;
}

/** The names of boxes, and where one can point or click: before the canvas. */
export function Signs(props: {
  plan: Plan;
  looked: Looked | null;
  onLook: (looked: Looked | null) => void;
  onOpen: (row: Row, stack: Stack) => void;
  onStep: (t: number) => void;
}) {
  const {
    plan,
    plan: { towers, em, width, height },
    looked,
  } = props;
  const small = letters(plan, 0.66);
  const tapped = useRef("");
  /** A finger cannot point: its first tap looks, and the second one opens. */
  const click = (event: PointerEvent, row: Row, stack: Stack) => {
    if (event.pointerType !== "touch" || tapped.current === row.name) {
      props.onOpen(row, stack);
      return;
    }
    tapped.current = row.name;
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
      {towers.map((tower) => {
        const { stack, side } = tower;
        const x =
          side === "inside" ? tower.right - 0.2 * em : side === "left" ? tower.left - 1.6 * em : tower.right + 1.6 * em;
        const lines = linesOf(tower, plan);
        const named = new Set(lines.map((line) => !line.remark && line.row));
        return (
          <g key={stack} class={side}>
            <rect
              class="columns"
              x={tower.left}
              y={tower.top}
              width={tower.right - tower.left}
              height={tower.foot - tower.top}
              onPointerMove={(event) => {
                const left = event.currentTarget.getBoundingClientRect().left;
                const position = Math.round((event.clientX - left + tower.left - tower.at(0)) / tower.pitch);
                props.onLook({ row: null, stack, position: Math.max(0, Math.min(tower.count - 1, position)) });
              }}
              onPointerLeave={() => props.onLook(null)}
              onClick={() => {
                if (looked?.position == null) return;
                if (stack === "decoder") props.onStep(looked.position - begin());
                else select(writes() ? { i: looked.position } : { i: looked.position, t: looked.position });
              }}
            />
            {tower.rows.map(
              (row) =>
                row.kind === "box" && (
                  <g
                    key={row.name + row.part}
                    class={`sign ${row.part} ${looked?.row === row ? "lit" : ""} ${isMissing(row) ? "gone" : ""}`}
                    role="button"
                    tabIndex={0}
                    data-name={row.name}
                    aria-label={described(row, stack)}
                    onPointerEnter={(event) =>
                      event.pointerType === "mouse" && props.onLook({ row, stack, position: null })
                    }
                    onPointerLeave={() => props.onLook(null)}
                    onFocus={() => props.onLook({ row, stack, position: null })}
                    onBlur={() => props.onLook(null)}
                    onClick={(event) => click(event as unknown as PointerEvent, row, stack)}
                    onKeyDown={(event) => {
                      if (event.key === "Enter") props.onOpen(row, stack);
                    }}
                  >
                    <rect
                      x={tower.left - 0.3 * em}
                      width={tower.right - tower.left + 0.6 * em}
                      y={row.y}
                      height={row.height}
                      rx={Math.min(0.35 * em, row.height / 2)}
                    />
                    {side !== "inside" && (
                      <rect
                        class="hit"
                        x={side === "left" ? x - plan.names : x - 0.4 * em}
                        width={plan.names + 0.4 * em}
                        y={row.y - 0.1 * em}
                        height={Math.max(row.height, 0.9 * em)}
                      />
                    )}
                    {named.has(row) && (
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
                ),
            )}
            {lines.map(
              ({ row, y, remark }) =>
                remark && (
                  <text
                    key={row.name}
                    class={`remark ${lacks(row).length ? "lack" : ""}`}
                    x={x}
                    y={y}
                    font-size={small}
                    text-anchor={side === "left" ? "end" : "start"}
                    dominant-baseline="central"
                  >
                    {remark}
                  </text>
                ),
            )}
            {side !== "inside" &&
              boxes(tower, "self").map((own) => (
                <text
                  key={own.name}
                  class="layer"
                  x={side === "left" ? tower.right + 0.8 * em : tower.left - 0.8 * em}
                  y={own.y + own.height / 2}
                  text-anchor={side === "left" ? "start" : "end"}
                  dominant-baseline="central"
                  font-size={small}
                >
                  {own.layer}
                </text>
              ))}
          </g>
        );
      })}
    </svg>
  );
}

const boxes = (tower: Tower, part: Part) => tower.rows.filter((row) => row.kind === "box" && row.part === part);

/** The names of a stack's boxes for which there is room, and what more there is to say of them. */
function linesOf(tower: Tower, of: Plan): { row: Placed; y: number; remark?: string }[] {
  const boxes = tower.rows.filter((row) => row.kind === "box");
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
