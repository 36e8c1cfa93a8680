// The light: where the positions that are being computed have come to.
import type { Painting } from "./paint";
import { towerOf } from "./time";
import { upTo } from "./paths";

/** On its way up a stack, and round its sublayers. */
export function rising({ pen, scene, now }: Painting): void {
  if (now.stage !== "rise") return;
  const { plan } = scene;
  const tower = towerOf(plan, now.pass);
  const many = now.pass.last > now.pass.first;
  const radius = many ? Math.max(1, Math.min(0.2 * plan.em, tower.pitch / 5)) : 0.45 * plan.em;
  for (let k = now.pass.first; k <= now.pass.last; k++) glow(pen, scene.theme.light, tower.at(k), now.y, radius);
  for (const wire of plan.wires) {
    if (wire.kind !== "residual" || wire.missing || wire.points[1][0] !== tower.bypass) continue;
    const [from, to] = [wire.points[1][1], wire.points[2][1]];
    if (now.y <= from && now.y >= to) glow(pen, scene.theme.light, tower.bypass, now.y, 0.26 * plan.em);
  }
}

/** After the encoder has read, its output goes to the blocks of the decoder. */
export function memory({ pen, scene, now }: Painting): void {
  if (now.stage !== "back" || now.pass.t !== null) return;
  for (const wire of scene.plan.wires) {
    if (wire.kind !== "memory" || wire.missing) continue;
    const path = upTo(wire.points, now.share);
    glow(pen, scene.theme.light, ...path[path.length - 1], 0.45 * scene.plan.em);
  }
}

export function glow(pen: CanvasRenderingContext2D, colour: string, x: number, y: number, radius: number): void {
  const shade = pen.createRadialGradient(x, y, 0, x, y, 2.4 * radius);
  shade.addColorStop(0, colour);
  shade.addColorStop(0.3, colour);
  shade.addColorStop(1, `${colour}00`);
  pen.fillStyle = shade;
  pen.globalAlpha = 0.9;
  pen.beginPath();
  pen.arc(x, y, 2.4 * radius, 0, 2 * Math.PI);
  pen.fill();
  pen.globalAlpha = 1;
}
