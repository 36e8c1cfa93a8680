// The weights of attention as threads: what each position takes from where.
import type { Painting } from "./paint";
import { curve, type Point, rail, upTo } from "./paths";
import type { Placed, Tower } from "./plan";
import type { Scene, Weights } from "./scene";

/** A box that mixes positions. */
interface Mixing {
  tower: Tower;
  row: Placed;
}

/** How strongly threads are drawn, and how far the light has come on them. */
interface Look {
  strength: number;
  share: number;
}

/** What a box that mixes positions takes from where, as far as it has been computed. */
export function mixing(painting: Painting, tower: Tower, row: Placed, done: number, rising: boolean): void {
  const { scene, now } = painting;
  const box = { tower, row };
  const index = tower.rows.indexOf(row);
  const passed = rising && (now.stage !== "rise" || now.row > index);
  const inside = rising && now.stage === "rise" && now.row === index;
  const { looked } = scene;
  if (looked?.stack === tower.stack) {
    if (looked.position < done || passed) threads(painting, box, looked.position, { strength: 1, share: 1 });
    return;
  }
  if (!rising) {
    if (tower.stack === "encoder" && done) weave(painting, box, 0, tower.count - 1, { strength: 0.4, share: 1 });
    return;
  }
  if (!passed && !inside) return;
  const { first, last } = now.pass;
  const share = inside ? now.within : 1;
  if (last > first) weave(painting, box, first, last, { strength: inside ? 1 : 0.5, share });
  else threads(painting, box, last, { strength: inside ? 1 : 0.75, share });
}

const attention = (row: Placed) => row.name.replace(/\.output$/, "");
const isAttention = (scene: Scene, { tower, row }: Mixing) =>
  row.part === "cross" || scene.mixers[tower.stack] === "attention";
const weightOf = (weights: Weights, head: number, query: number, key: number) =>
  (weights.roots[(head * weights.queries + query) * weights.keys + key] / 255) ** 2;

/** Of one query, every head in its own colour. */
function threads(painting: Painting, box: Mixing, query: number, look: Look): void {
  const { pen, scene } = painting;
  const { tower, row } = box;
  if (row.missing) return;
  if (!isAttention(scene, box)) {
    neighbours(painting, box, query, look);
    return;
  }
  const name = attention(row);
  const weights = scene.weights.get(name);
  if (!weights) return;
  const cross = row.part === "cross";
  const keys = cross ? scene.plan.towers[0] : tower;
  for (let head = 0; head < weights.heads; head++) {
    if (scene.off.has(`${name} ${head}`)) continue;
    const colour = scene.theme.heads[head % scene.theme.heads.length];
    for (let key = 0; key < weights.keys; key++) {
      const weight = weightOf(weights, head, query, key);
      if (weight < 0.02) continue;
      const points = cross
        ? rail(scene.plan, keys, tower, row, key, query, head - (weights.heads - 1) / 2)
        : curve(tower, row, key, query);
      thread(pen, points, { colour, weight, straight: cross }, look);
    }
  }
  pen.globalAlpha = 1;
}

/** A thread as far as the light has come, and the light on it. */
function thread(
  pen: CanvasRenderingContext2D,
  points: Point[],
  { colour, weight, straight }: { colour: string; weight: number; straight?: boolean },
  { strength, share }: Look,
): void {
  const shown = share >= 1 ? points : upTo(points, share);
  pen.globalAlpha = strength * (0.12 + 0.88 * weight);
  pen.strokeStyle = colour;
  pen.lineWidth = 0.6 + 2.6 * weight;
  pen.beginPath();
  for (const [k, point] of shown.entries()) {
    const next = shown[k + 1];
    if (!k || !straight || !next) {
      pen.lineTo(...point);
      continue;
    }
    const room = (other: Point) => Math.hypot(other[0] - point[0], other[1] - point[1]) / 2;
    pen.arcTo(...point, ...next, Math.min(7, room(shown[k - 1]), room(next)));
  }
  pen.stroke();
  if (share < 1 && weight > 0.05) {
    pen.globalAlpha = strength;
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(...shown[shown.length - 1], 1.2 + 2.2 * weight, 0, 2 * Math.PI);
    pen.fill();
  }
}

const woven = new WeakMap<Weights, Map<string, Path2D[]>>();
const SHADES = 6;

/** Of many queries at once, the mean of all heads. */
function weave(painting: Painting, box: Mixing, first: number, last: number, look: Look): void {
  const { pen, scene } = painting;
  const { tower, row } = box;
  if (row.missing) return;
  if (!isAttention(scene, box)) {
    const weaker = { ...look, strength: 0.6 * look.strength };
    for (let query = first; query <= last; query++) neighbours(painting, box, query, weaker);
    return;
  }
  const weights = scene.weights.get(attention(row));
  if (!weights || row.part === "cross") return;
  const known = woven.get(weights) ?? new Map<string, Path2D[]>();
  woven.set(weights, known);
  const key = [tower.pitch, tower.left, row.y, row.height, first, last].join();
  if (!known.has(key)) known.set(key, paths(scene, box, weights, first, last));
  pen.save();
  pen.beginPath();
  pen.rect(tower.left, row.y + row.height * (1 - look.share), tower.right - tower.left, row.height * look.share);
  pen.clip();
  pen.strokeStyle = scene.theme.accent;
  for (const [shade, path] of known.get(key)!.entries()) {
    const weight = (shade + 0.7) / SHADES;
    pen.globalAlpha = look.strength * (0.1 + 0.75 * weight);
    pen.lineWidth = 0.5 + 1.4 * weight;
    pen.stroke(path);
  }
  pen.restore();
  pen.globalAlpha = 1;
}

/** By their weights, in `SHADES` steps. */
function paths(scene: Scene, { tower, row }: Mixing, weights: Weights, first: number, last: number): Path2D[] {
  const found = Array.from({ length: SHADES }, () => new Path2D());
  const heads = Array.from({ length: weights.heads }, (_, head) => head).filter(
    (head) => !scene.off.has(`${attention(row)} ${head}`),
  );
  const middle = row.y + row.height / 2;
  for (let query = first; query <= last; query++)
    for (let key = 0; key < weights.keys; key++) {
      const share = heads.reduce((sum, head) => sum + weightOf(weights, head, query, key), 0) / weights.heads;
      if (share < 0.03) continue;
      const path = found[Math.min(SHADES - 1, Math.floor(share * SHADES))];
      path.moveTo(tower.at(key), row.y + row.height);
      path.bezierCurveTo(tower.at(key), middle, tower.at(query), middle, tower.at(query), row.y);
    }
  return found;
}

/** What a convolution or a recurrence takes from where; here nothing depends on the sentence. */
function neighbours({ pen, scene }: Painting, { tower, row }: Mixing, query: number, look: Look): void {
  const colour = scene.theme.accent;
  if (scene.mixers[tower.stack] === "convolution") {
    const before = tower.stack === "decoder" ? scene.kernel - 1 : Math.floor(scene.kernel / 2);
    for (let key = Math.max(0, query - before); key < Math.min(tower.count, query - before + scene.kernel); key++)
      thread(pen, curve(tower, row, key, query), { colour, weight: 0.4 }, look);
  } else {
    const x = tower.at(query);
    const level = row.y + row.height / 2;
    const state: Point[] = [
      [tower.at(query - 1), level],
      [x, level],
      [x, row.y],
    ];
    const input: Point[] = [
      [x, row.y + row.height],
      [x, row.y],
    ];
    for (const points of query ? [state, input] : [input]) thread(pen, points, { colour, weight: 0.5 }, look);
  }
  pen.globalAlpha = 1;
}
