// The names of tokens: below the stacks, and above the last one what is written.
import { letters } from "./letters";
import type { Painting } from "./paint";
import type { Tower } from "./plan";

/** The names of tokens below a stack: of the decoder, those that have been written. */
export function names(painting: Painting, tower: Tower, shown: number): void {
  const { pen, scene, now } = painting;
  const { em } = scene.plan;
  const { looked } = scene;
  const all = tower.stack === "encoder" ? tower.count : shown;
  const fed = scene.writes && tower.stack === now.pass.stack && now.pass.t !== null ? now.pass.last : -1;
  for (const group of scene.groups[tower.stack]) {
    if (group.first >= all) break;
    const end = Math.min(group.end, all);
    const has = (position: number) => group.first <= position && position < group.end;
    if (group.end - group.first > 1) {
      pen.strokeStyle = scene.theme.faint;
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(tower.at(group.first) - 1, tower.bottom + 0.35 * em);
      pen.lineTo(tower.at(end - 1) + 1, tower.bottom + 0.35 * em);
      pen.stroke();
    }
    label(painting, group.text(end), {
      x: (tower.at(group.first) + tower.at(group.end - 1)) / 2,
      y: tower.bottom + 0.6 * em,
      how: group.upright ? "below" : "hanging",
      lit: has(fed) || (looked?.stack === tower.stack && has(looked.position)),
      missing: tower.stack === "decoder" && group.first === scene.begin && scene.without.has("begin"),
    });
  }
}

interface Place {
  x: number;
  y: number;
  /** Upright, or turned so that its neighbour has room. */
  how: "below" | "above" | "hanging" | "standing";
  lit: boolean;
  missing?: boolean;
}

/** The name of a token. */
export function label({ pen, scene }: Painting, text: string, place: Place): void {
  const { x, y, how, lit, missing } = place;
  const lower = how === "hanging" ? 0.2 * scene.plan.em : 0;
  pen.save();
  pen.font = `${lit ? "bold" : ""} ${letters(scene.plan, 0.75)}px ${scene.theme.font}`;
  pen.fillStyle = missing ? scene.theme.bad : lit ? scene.theme.accent : scene.theme.ink;
  pen.translate(x, y);
  if (how === "hanging" || how === "standing") pen.rotate(-Math.PI / 3);
  pen.textAlign = how === "hanging" ? "right" : how === "standing" ? "left" : "center";
  pen.textBaseline = how === "below" ? "top" : how === "above" ? "bottom" : "middle";
  pen.fillText(text, 0, lower);
  if (missing) struck(pen, text, lower);
  pen.restore();
}

/** A line through a text that has been written at (0, y). */
function struck(pen: CanvasRenderingContext2D, text: string, y: number): void {
  const size = pen.measureText(text);
  const middle = y + (size.actualBoundingBoxDescent - size.actualBoundingBoxAscent) / 2;
  const { actualBoundingBoxLeft: left, actualBoundingBoxRight: right } = size;
  pen.fillRect(-left, middle - 0.75, left + right, 1.5);
}
