// What does not move in the running picture, behind its canvas: boxes, blocks and wires.
import { say } from "../words";
import { letters } from "./letters";
import { isMissing, unframed } from "./parts";
import type { Point } from "./paths";
import type { Plan, Tower } from "./plan";

export function Ground(props: { plan: Plan }) {
  const { towers, wires, em, width, height } = props.plan;
  return (
    <svg class="ground" width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      <defs>
        <marker
          id="whole-arrow"
          viewBox="0 0 8 8"
          refX="6"
          refY="4"
          markerUnits="userSpaceOnUse"
          markerWidth="8"
          markerHeight="8"
          orient="auto-start-reverse"
        >
          <path d="M0,0L8,4L0,8z" />
        </marker>
      </defs>
      {towers.map((tower) => (
        <g key={tower.stack}>
          <text
            class="stack"
            font-size={letters(props.plan, 0.85)}
            text-anchor={tower.side === "right" ? "start" : "end"}
            x={
              tower.side === "right"
                ? tower.right + 1.6 * em
                : tower.side === "left"
                  ? tower.left - 1.6 * em
                  : tower.right
            }
            y={tower.name}
            dominant-baseline="central"
          >
            {say(tower.stack)}
          </text>
          {tower.stack === "decoder" && tower.side !== "inside" && (
            <text
              class="lack"
              font-size={letters(props.plan, 0.66)}
              text-anchor={tower.side === "right" ? "start" : "end"}
              x={tower.side === "right" ? tower.right + 1.6 * em : tower.left - 1.6 * em}
              y={tower.name + letters(props.plan, 0.9)}
              dominant-baseline="central"
            >
              {unframed()
                .map((part) => say(`whole_no_${part}`))
                .join(" · ")}
            </text>
          )}
          {blocks(tower).map(([layer, top, bottom]) => (
            <rect
              key={layer}
              class="block"
              x={tower.left - 0.55 * em}
              width={tower.right - tower.left + 1.1 * em}
              y={top}
              height={bottom - top}
              rx={0.5 * em}
            />
          ))}
          {Array.from({ length: tower.count }, (_, k) => (
            <line key={k} class="column" x1={tower.at(k)} x2={tower.at(k)} y1={tower.bottom} y2={tower.top} />
          ))}
          {tower.rows.map(
            (row, k) =>
              row.kind === "box" && (
                <rect
                  key={k}
                  class={`box ${row.part} ${isMissing(row) ? "gone" : ""}`}
                  x={tower.left - 0.3 * em}
                  width={tower.right - tower.left + 0.6 * em}
                  y={row.y}
                  height={row.height}
                  rx={Math.min(0.35 * em, row.height / 2)}
                />
              ),
          )}
        </g>
      ))}
      {wires.map((wire, k) => (
        <path
          key={k}
          class={`wire ${wire.kind} ${wire.missing ? "gone" : ""}`}
          d={rounded(wire.points, 0.5 * em)}
          marker-end="url(#whole-arrow)"
        />
      ))}
    </svg>
  );
}

/** A path with corners of this radius. */
const rounded = (points: Point[], radius: number) =>
  points
    .map(([x, y], k) => {
      const [before, after] = [points[k - 1], points[k + 1]];
      if (!before || !after) return `${k ? "L" : "M"}${x},${y}`;
      const near = ([a, b]: Point) => {
        const far = Math.hypot(a - x, b - y);
        const share = Math.min(radius, far / 2) / (far || 1);
        return `${x + (a - x) * share},${y + (b - y) * share}`;
      };
      return `L${near(before)}Q${x},${y} ${near(after)}`;
    })
    .join("");

/** From where to where each block goes. */
const blocks = (tower: Tower) =>
  [...new Set(tower.rows.map((row) => row.layer))]
    .filter((layer) => layer !== null)
    .map((layer): [number, number, number] => {
      const own = tower.rows.filter((row) => row.layer === layer);
      return [layer, own[own.length - 1].y - 2, own[0].y + own[0].height + 2];
    });
