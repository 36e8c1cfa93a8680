// The wires of the picture: what goes another way than up its stack.
import type { Architecture } from "../wire";
import type { Point } from "./paths";
import type { Placed, Plan, Tower } from "./plan";

export interface Wire {
  kind: "residual" | "memory" | "outlet" | "feedback";
  /** The model was trained without it. */
  missing: boolean;
  points: Point[];
}

export function wiresOf(config: Architecture, plan: Omit<Plan, "wires">): Wire[] {
  const without = new Set<string>(config.without);
  const { towers } = plan;
  return [
    ...towers.flatMap((tower) => residuals(tower, without.has("residual"))),
    ...(towers.length > 1 ? memory(plan) : []),
    outlet(plan),
    ...(config.shape === "encoder" ? [] : [feedback(plan, without.has("shift"))]),
  ];
}

const middle = (row: { y: number; height: number }) => row.y + row.height / 2;

/** Round each sublayer, from the residual stream below it to where its output is added. */
function residuals(tower: Tower, missing: boolean): Wire[] {
  const found: Wire[] = [];
  const edge = tower.side === "right" ? tower.right : tower.left;
  let stream: Placed | undefined;
  for (const row of tower.rows) {
    const adds = row.part === "add" || row.part === "add_norm";
    if (row.kind === "lane" && (adds || row.layer === null)) stream = row;
    if (row.kind !== "box" || !adds || !stream) continue;
    const [from, to] = [middle(stream), middle(row)];
    const points: Point[] = [
      [edge, from],
      [tower.bypass, from],
      [tower.bypass, to],
      [edge, to],
    ];
    found.push({ kind: "residual", missing, points });
  }
  return found;
}

/** From the encoder's output to each cross-attention of the decoder. */
function memory({ towers: [encoder, decoder], trunk, em }: Omit<Plan, "wires">): Wire[] {
  const from = encoder.rows[encoder.rows.length - 1].y;
  const above = from - 0.5 * em;
  const centre = (encoder.left + encoder.right) / 2;
  return decoder.rows
    .filter((row) => row.kind === "box" && row.part === "cross")
    .map((row) => ({
      kind: "memory",
      missing: row.missing,
      points: [
        [centre, from],
        [centre, above],
        [trunk, above],
        [trunk, middle(row)],
        [decoder.left, middle(row)],
      ],
    }));
}

/** From the last stack to the distribution. */
function outlet({ towers, answers, distribution, trunk, em }: Omit<Plan, "wires">): Wire {
  const last = towers[towers.length - 1];
  const out = middle(last.rows[last.rows.length - 1]);
  const centre = middle(distribution);
  const level = Math.abs(centre - out) < distribution.height / 2 ? out : centre;
  const points: Point[] =
    distribution.x < last.left && towers.length > 1
      ? [
          [last.left - 0.3 * em, out],
          [trunk, out],
          [trunk, level],
          [distribution.x + distribution.width, level],
        ]
      : [
          [last.left + 2 * em, answers.y],
          [last.left + 2 * em, distribution.y + distribution.height - 0.2 * em],
        ];
  return { kind: "outlet", missing: false, points };
}

/** From an answer to the next input. */
function feedback({ towers, answers, back, em }: Omit<Plan, "wires">, missing: boolean): Wire {
  const last = towers[towers.length - 1];
  const [above, below] = [answers.y + answers.height - 0.8 * em, last.bottom + 0.4 * em];
  const points: Point[] = [
    [last.right, above],
    [back, above],
    [back, below],
    [last.right + 0.4 * em, below],
  ];
  return { kind: "feedback", missing, points };
}
