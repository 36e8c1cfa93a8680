// One moment of the running picture on a canvas.
import { memory, rising as light } from "./light";
import { names } from "./names";
import type { Tower } from "./plan";
import type { Scene } from "./scene";
import { mixing } from "./threads";
import type { Moment, Pass } from "./time";
import { lanes } from "./vectors";
import { written } from "./written";

/** What is painted, with what, and the moment that it shows. */
export interface Painting {
  pen: CanvasRenderingContext2D;
  scene: Scene;
  now: Moment;
}

export function paint(painting: Painting, passes: Pass[]): void {
  const { pen, scene, now } = painting;
  const { plan } = scene;
  pen.setTransform(scene.ratio, 0, 0, scene.ratio, 0, 0);
  pen.clearRect(0, 0, plan.width, plan.height);
  pen.lineCap = "round";
  pen.lineJoin = "round";
  for (const tower of plan.towers) {
    const { done, rising } = reached(tower, now, passes);
    lanes(painting, tower, done, rising);
    names(painting, tower, rising ? now.pass.last + 1 : done);
    for (const row of tower.rows)
      if (row.kind === "box" && (row.part === "self" || row.part === "cross"))
        mixing(painting, tower, row, done, rising);
  }
  memory(painting);
  light(painting);
  written(painting);
}

/** How many positions of a stack have been computed, and whether it is at work. */
function reached(tower: Tower, now: Moment, passes: Pass[]): { done: number; rising: boolean } {
  if (now.pass.stack === tower.stack) return { done: now.pass.first, rising: true };
  const before = passes.slice(0, now.number).filter((pass) => pass.stack === tower.stack);
  return { done: before.length ? before[before.length - 1].last + 1 : 0, rising: false };
}
