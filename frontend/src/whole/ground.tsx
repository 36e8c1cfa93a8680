// What does not move in the running picture, behind its canvas: boxes, blocks and wires.
import { model, writes } from "../data";
import { say } from "../words";
import { isMissing, unframed } from "./parts";
import { type Plan, type Tower, letters } from "./plan";

/** The places of the wires that do not move: behind the canvas. */
export function Ground(props: { plan: Plan }) {
  const {
    plan: { towers, wires, em, width, height, answers, back },
  } = props;
  const round = (points: [number, number][]) =>
    points
      .map(([x, y], k) => {
        const [before, after] = [points[k - 1], points[k + 1]];
        if (!before || !after) return `${k ? "L" : "M"}${x},${y}`;
        const near = ([a, b]: [number, number]) => {
          const far = Math.hypot(a - x, b - y),
            by = Math.min(0.5 * em, far / 2) / (far || 1);
          return `${x + (a - x) * by},${y + (b - y) * by}`;
        };
        return `L${near(before)}Q${x},${y} ${near(after)}`;
      })
      .join("");
  const last = towers[towers.length - 1];
  const { without } = model.value!.config;
  const { distribution } = props.plan;
  const middle = distribution.y + distribution.height / 2;
  const out = last.rows[last.rows.length - 1].y + last.rows[last.rows.length - 1].height / 2;
  const level = Math.abs(middle - out) < distribution.height / 2 ? out : middle;
  const outlet: [number, number][] =
    distribution.x < last.left && towers.length > 1
      ? [
          [last.left - 0.3 * em, out],
          [props.plan.trunk, out],
          [props.plan.trunk, level],
          [distribution.x + distribution.width, level],
        ]
      : [
          [last.left + 2 * em, answers.y],
          [last.left + 2 * em, distribution.y + distribution.height - 0.2 * em],
        ];
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
          d={round(wire.points)}
          marker-end="url(#whole-arrow)"
        />
      ))}
      <path class="wire" d={round(outlet)} marker-end="url(#whole-arrow)" />
      {writes() && (
        <path
          class={`wire feedback ${without.includes("shift") ? "gone" : ""}`}
          marker-end="url(#whole-arrow)"
          d={round([
            [last.right, answers.y + answers.height - 0.8 * em],
            [back, answers.y + answers.height - 0.8 * em],
            [back, last.bottom + 0.4 * em],
            [last.right + 0.4 * em, last.bottom + 0.4 * em],
          ])}
        />
      )}
    </svg>
  );
}

/** From where to where each block goes. */
const blocks = (tower: Tower) =>
  [...new Set(tower.rows.map((row) => row.layer))]
    .filter((layer) => layer !== null)
    .map((layer): [number, number, number] => {
      const own = tower.rows.filter((row) => row.layer === layer);
      return [layer, own[own.length - 1].y - 2, own[0].y + own[0].height + 2];
    });
