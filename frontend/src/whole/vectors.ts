// The vectors of all positions as strips of colour.
import type { Painting } from "./paint";
import type { Placed, Tower } from "./plan";
import type { Theme } from "./scene";

const CELLS_HIGH = 2.2;

/** The vectors of a lane side by side, each by the largest of its coordinates that share a cell; transparent at 0. */
export function strip(tower: Tower, row: Placed, values: Float32Array, ratio: number, theme: Theme): HTMLCanvasElement {
  const width = values.length / tower.count;
  const cells = Math.max(3, Math.min(width, Math.round(row.height / CELLS_HIGH)));
  const found = document.createElement("canvas");
  found.width = Math.ceil((tower.right - tower.left) * ratio);
  found.height = Math.ceil(row.height * ratio);
  const pen = found.getContext("2d")!;
  pen.scale(ratio, ratio);
  const thick = thickness(tower);
  const most: number[] = [];
  for (let k = 0; k < tower.count; k++)
    for (let cell = 0; cell < cells; cell++) {
      let extreme = 0;
      for (let c = Math.floor((cell * width) / cells); c < Math.floor(((cell + 1) * width) / cells); c++)
        if (Math.abs(values[k * width + c]) > Math.abs(extreme)) extreme = values[k * width + c];
      most.push(extreme);
    }
  const largest = Math.max(1e-9, ...most.map(Math.abs));
  const high = row.height / cells;
  for (const [at, value] of most.entries()) {
    const k = Math.floor(at / cells),
      cell = at % cells;
    pen.fillStyle = value > 0 ? theme.plus : theme.minus;
    pen.globalAlpha = Math.min(1, 0.06 + 0.94 * (Math.abs(value) / largest) ** 0.7);
    pen.fillRect(tower.at(k) - thick / 2 - tower.left, cell * high, thick, high + 0.3);
  }
  return found;
}

const thickness = (tower: Tower) => Math.max(1.5, Math.min(22, tower.pitch * 0.72));

/** The strips of the positions that have been computed, the others not yet. */
export function lanes({ pen, scene, now }: Painting, tower: Tower, done: number, rising: boolean): void {
  const past = rising && now.pass.t !== null && !(now.stage === "back" && now.share >= 1) ? 0.55 : 1;
  for (const [k, row] of tower.rows.entries()) {
    const picture = row.kind === "lane" && scene.strips.get(row.name);
    if (!picture) continue;
    const part = (first: number, end: number, alpha: number) => {
      if (end <= first || alpha <= 0) return;
      const from = tower.at(first) - tower.pitch / 2 - tower.left,
        wide = (end - first) * tower.pitch;
      const [cut, width] = [from * scene.ratio, wide * scene.ratio];
      pen.globalAlpha = alpha;
      pen.drawImage(picture, cut, 0, width, picture.height, tower.left + from, row.y, wide, row.height);
    };
    part(0, done, past);
    const computed = now.stage !== "rise" || k < now.row ? 1 : k === now.row ? now.within : 0;
    if (rising) part(now.pass.first, now.pass.last + 1, computed);
  }
  pen.globalAlpha = 1;
}
