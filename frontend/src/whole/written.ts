// What the last stack answers: a distribution, what is chosen from it, and how that becomes the next input.
import { show } from "../words";
import { LISTED } from "./layout";
import { letters } from "./letters";
import { glow } from "./light";
import { label } from "./names";
import type { Painting } from "./paint";
import { type Point, upTo } from "./paths";
import type { Scene } from "./scene";
import type { Moment } from "./time";

/** The distribution, the answers so far, and a token that is on its way. */
export function written(painting: Painting): void {
  const { scene, now } = painting;
  answers(painting);
  const t = shownStep(scene, now);
  if (t === null) return;
  const over = isAnswering(now);
  const share = now.stage === "answer" ? now.share : 1;
  bars(painting, t, over ? Math.min(1, 2 * share) : 1, over ? 1 : 0.35);
  if (!over || !scene.writes) return;
  if (now.stage === "back") goBack(painting, t);
  else if (share < 1 && share > 0.5) goUp(painting, t, ease(2 * share - 1));
}

/** Whether the last stack has come to its end, so that there is a distribution. */
const isAnswering = (now: Moment) => now.pass.t !== null && now.stage !== "rise";

/** The step whose distribution is shown: until there is one of this step, that of the step before. */
function shownStep(scene: Scene, now: Moment): number | null {
  const { t } = now.pass;
  if (t === null) return null;
  if (isAnswering(now)) return scene.writes ? t : scene.label;
  return scene.writes && t > 0 ? t - 1 : null;
}

/** How many answers stand in their places. */
function standing(scene: Scene, now: Moment): number {
  if (!isAnswering(now)) return scene.writes ? (now.pass.t ?? 0) : 0;
  if (!scene.writes) return scene.answers.length;
  return now.pass.t! + (now.stage === "back" || now.share >= 1 ? 1 : 0);
}

/** Above the position that it was computed at. */
function place(scene: Scene, t: number): Point {
  const { answers: row, em, towers } = scene.plan;
  return [towers[towers.length - 1].at(scene.begin + t), row.y + row.height - 0.3 * em];
}

function answers(painting: Painting): void {
  const { scene, now } = painting;
  const complete = standing(scene, now);
  for (const group of scene.groups.answers) {
    if (group.first >= complete) break;
    const [left, y] = place(scene, group.first);
    const [right] = place(scene, group.end - 1);
    const t = isAnswering(now) && scene.writes ? now.pass.t! : -1;
    label(painting, group.text(Math.min(group.end, complete)), {
      x: (left + right) / 2,
      y,
      how: group.upright ? "above" : "standing",
      lit: group.first <= t && t < group.end,
    });
  }
}

/** From the distribution to the answers. */
function goUp(painting: Painting, t: number, share: number): void {
  const { scene } = painting;
  const { distribution, em } = scene.plan;
  const row = Math.max(0, scene.chosen[t]);
  const from: Point = [distribution.x + 3 * em, distribution.y + (row + 0.9) * distribution.line];
  const to = place(scene, t);
  flying(painting, scene.answers[t], [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]);
}

/** From the answers to the input of the next step. */
function goBack(painting: Painting, t: number): void {
  const { scene, now } = painting;
  if (t + 1 >= scene.answers.length) return;
  const { back, em, towers } = scene.plan;
  const [x, y] = place(scene, t);
  const [next] = place(scene, t + 1);
  const above = y - 0.5 * em;
  const below = towers[towers.length - 1].bottom + 0.9 * em;
  const way: Point[] = [
    [x, above],
    [back, above],
    [back, below],
    [next, below],
  ];
  const path = upTo(way, ease(now.share));
  flying(painting, scene.answers[t], path[path.length - 1]);
}

const ease = (share: number) => share * share * (3 - 2 * share);

function flying({ pen, scene }: Painting, text: string, [x, y]: Point): void {
  glow(pen, scene.theme.light, x, y, 0.6 * scene.plan.em);
  pen.font = `bold ${letters(scene.plan, 0.8)}px ${scene.theme.font}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineWidth = 4;
  pen.strokeStyle = scene.theme.paper;
  pen.strokeText(text, x, y);
  pen.fillStyle = scene.theme.ink;
  pen.fillText(text, x, y);
}

function bars({ pen, scene }: Painting, t: number, grown: number, alpha: number): void {
  const { distribution, em } = scene.plan;
  const { line } = distribution,
    names = 0.3 * distribution.width,
    from = distribution.x + names,
    room = distribution.width - names - 4 * em;
  pen.textBaseline = "middle";
  for (const [k, { text, p }] of scene.top[t].slice(0, LISTED).entries()) {
    const y = distribution.y + (k + 0.9) * line,
      chosen = k === scene.chosen[t];
    pen.globalAlpha = alpha;
    pen.font = `${chosen ? "bold " : ""}${Math.max(scene.plan.least, 0.62 * line)}px ${scene.theme.font}`;
    pen.fillStyle = chosen ? scene.theme.accent : scene.theme.ink;
    pen.textAlign = "right";
    pen.fillText(shortened(pen, text, names - 0.5 * em), from - 0.5 * em, y);
    pen.textAlign = "left";
    pen.fillText(show(p, 4), from + Math.max(0, room) * p * grown + 0.4 * em, y);
    pen.fillStyle = chosen ? scene.theme.accent : scene.theme.faint;
    pen.fillRect(from, y - 0.27 * line, Math.max(0, room) * p * grown, 0.54 * line);
  }
  pen.globalAlpha = 1;
}

/** A text that is no longer than this. */
function shortened(pen: CanvasRenderingContext2D, text: string, most: number): string {
  if (pen.measureText(text).width <= most) return text;
  let end = text.length - 1;
  while (end > 1 && pen.measureText(`${text.slice(0, end)}…`).width > most) end -= 1;
  return `${text.slice(0, end)}…`;
}
