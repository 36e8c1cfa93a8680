// One moment of the running picture on a canvas: vectors as strips, weights as threads, the light, and what is written.
import type { Stack } from "../state";
import { show } from "../words";
import { LISTED, type Plan, type Row, type Tower, letters } from "./plan";
import { type Moment, type Pass, towerOf } from "./time";

export interface Weights {
  heads: number;
  queries: number;
  keys: number;
  /** 255·√weight. */
  roots: Uint8Array;
}

/** Tokens that have one name together, where there is no room for each: [first, end). */
export interface Group {
  first: number;
  end: number;
  text: (end: number) => string;
  /** Whether there is room for it upright. */
  upright: boolean;
}

export interface Theme {
  ink: string;
  faint: string;
  paper: string;
  accent: string;
  light: string;
  plus: string;
  minus: string;
  bad: string;
  heads: string[];
  font: string;
}

export interface Scene {
  plan: Plan;
  ratio: number;
  theme: Theme;
  /** By canonical name, as large as they are drawn. */
  strips: Map<string, HTMLCanvasElement>;
  /** By the name of an attention. */
  weights: Map<string, Weights>;
  /** `name head` of those that are switched off. */
  off: Set<string>;
  groups: Record<Stack | "answers", Group[]>;
  /** The most probable tokens of each step, and which of them was chosen. */
  top: { text: string; p: number }[][];
  chosen: number[];
  answers: string[];
  begin: number;
  /** What the model was trained without. */
  without: Set<string>;
  writes: boolean;
  /** How self-attention's place is taken: the window of a convolution, or a recurrence. */
  mixers: Record<Stack, "attention" | "convolution" | "recurrence">;
  kernel: number;
  causal: boolean;
  /** The label whose distribution is shown, in the encoder shape. */
  label: number;
  /** A position whose threads are wanted. */
  looked: { stack: Stack; position: number } | null;
}

const CELLS_HIGH = 2.2;

/** The vectors of a lane side by side, each by the largest of its coordinates that share a cell; transparent at 0. */
export function strip(tower: Tower, row: Row, values: Float32Array, ratio: number, theme: Theme): HTMLCanvasElement {
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

export function paint(pen: CanvasRenderingContext2D, scene: Scene, now: Moment, passes: Pass[]): void {
  const { plan } = scene;
  pen.setTransform(scene.ratio, 0, 0, scene.ratio, 0, 0);
  pen.clearRect(0, 0, plan.width, plan.height);
  pen.lineCap = "round";
  pen.lineJoin = "round";
  for (const tower of plan.towers) {
    const { done, rising } = reached(tower, now, passes);
    lanes(pen, scene, tower, now, done, rising);
    names(pen, scene, tower, now, rising ? now.pass.last + 1 : done);
    for (const row of tower.rows)
      if (row.kind === "box" && (row.part === "self" || row.part === "cross"))
        mixing(pen, scene, tower, row, now, done, rising);
  }
  memory(pen, scene, now);
  light(pen, scene, now);
  written(pen, scene, now, passes);
}

/** How many positions of a stack have been computed, and whether it is at work. */
function reached(tower: Tower, now: Moment, passes: Pass[]): { done: number; rising: boolean } {
  if (now.pass.stack === tower.stack) return { done: now.pass.first, rising: true };
  const before = passes.slice(0, now.number).filter((pass) => pass.stack === tower.stack);
  return { done: before.length ? before[before.length - 1].last + 1 : 0, rising: false };
}

function lanes(
  pen: CanvasRenderingContext2D,
  scene: Scene,
  tower: Tower,
  now: Moment,
  done: number,
  rising: boolean,
): void {
  const past = rising && now.pass.t !== null && !(now.stage === "back" && now.share >= 1) ? 0.55 : 1;
  for (const [k, row] of tower.rows.entries()) {
    const picture = row.kind === "lane" && scene.strips.get(row.name);
    if (!picture) continue;
    const part = (first: number, end: number, alpha: number) => {
      if (end <= first || alpha <= 0) return;
      const from = tower.at(first) - tower.pitch / 2 - tower.left,
        wide = (end - first) * tower.pitch;
      pen.globalAlpha = alpha;
      pen.drawImage(
        picture,
        from * scene.ratio,
        0,
        wide * scene.ratio,
        picture.height,
        tower.left + from,
        row.y,
        wide,
        row.height,
      );
    };
    part(0, done, past);
    if (rising)
      part(now.pass.first, now.pass.last + 1, now.stage !== "rise" || k < now.row ? 1 : k === now.row ? now.within : 0);
  }
  pen.globalAlpha = 1;
}

/** The names of tokens below a stack: of the decoder, those that have been written. */
function names(pen: CanvasRenderingContext2D, scene: Scene, tower: Tower, now: Moment, shown: number): void {
  const { em } = scene.plan;
  const { looked } = scene;
  const all = tower.stack === "encoder" ? tower.count : shown;
  for (const group of scene.groups[tower.stack]) {
    if (group.first >= all) break;
    const end = Math.min(group.end, all);
    const current =
      scene.writes &&
      tower.stack === now.pass.stack &&
      now.pass.t !== null &&
      group.first <= now.pass.last &&
      now.pass.last < group.end;
    const lit = looked?.stack === tower.stack && looked.position >= group.first && looked.position < group.end;
    const x = (tower.at(group.first) + tower.at(group.end - 1)) / 2;
    if (group.end - group.first > 1) {
      pen.strokeStyle = scene.theme.faint;
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(tower.at(group.first) - 1, tower.bottom + 0.35 * em);
      pen.lineTo(tower.at(end - 1) + 1, tower.bottom + 0.35 * em);
      pen.stroke();
    }
    label(
      pen,
      scene,
      group.text(end),
      x,
      tower.bottom + 0.6 * em,
      group.upright ? "below" : "hanging",
      lit || current ? "bold" : "",
      tower.stack === "decoder" && group.first === scene.begin && scene.without.has("begin"),
    );
  }
}

/** The name of a token: upright, or turned so that its neighbour has room. */
function label(
  pen: CanvasRenderingContext2D,
  scene: Scene,
  text: string,
  x: number,
  y: number,
  how: "below" | "above" | "hanging" | "standing",
  weight = "",
  missing = false,
): void {
  const { em } = scene.plan;
  pen.save();
  pen.font = `${weight} ${letters(scene.plan, 0.75)}px ${scene.theme.font}`;
  pen.fillStyle = missing ? scene.theme.bad : weight ? scene.theme.accent : scene.theme.ink;
  pen.translate(x, y);
  if (how === "hanging" || how === "standing") pen.rotate(-Math.PI / 3);
  pen.textAlign = how === "hanging" ? "right" : how === "standing" ? "left" : "center";
  pen.textBaseline = how === "below" ? "top" : how === "above" ? "bottom" : "middle";
  pen.fillText(text, 0, how === "hanging" ? 0.2 * em : 0);
  if (missing) struck(pen, text, how === "hanging" ? 0.2 * em : 0);
  pen.restore();
}

/** A line through a text that has been written at (0, y). */
function struck(pen: CanvasRenderingContext2D, text: string, y: number): void {
  const size = pen.measureText(text);
  const middle = y + (size.actualBoundingBoxDescent - size.actualBoundingBoxAscent) / 2;
  const { actualBoundingBoxLeft: left, actualBoundingBoxRight: right } = size;
  pen.fillRect(-left, middle - 0.75, left + right, 1.5);
}

/** What a box that mixes positions takes from where. */
function mixing(
  pen: CanvasRenderingContext2D,
  scene: Scene,
  tower: Tower,
  row: Row,
  now: Moment,
  done: number,
  rising: boolean,
): void {
  const index = tower.rows.indexOf(row);
  const passed = rising && (now.stage !== "rise" || now.row > index);
  const inside = rising && now.stage === "rise" && now.row === index;
  const { looked } = scene;
  if (looked?.stack === tower.stack) {
    if (looked.position < done || passed) threads(pen, scene, tower, row, looked.position, 1, 1);
    return;
  }
  if (!rising) {
    if (tower.stack === "encoder" && done) weave(pen, scene, tower, row, 0, tower.count - 1, 0.4, 1);
    return;
  }
  if (!passed && !inside) return;
  const share = inside ? now.within : 1;
  if (now.pass.last > now.pass.first)
    weave(pen, scene, tower, row, now.pass.first, now.pass.last, inside ? 1 : 0.5, share);
  else threads(pen, scene, tower, row, now.pass.last, inside ? 1 : 0.75, share);
}

type Point = [number, number];

/** Of one query, every head in its own colour. */
function threads(
  pen: CanvasRenderingContext2D,
  scene: Scene,
  tower: Tower,
  row: Row,
  query: number,
  strength: number,
  share: number,
): void {
  if (row.missing) return;
  if (row.part === "self" && scene.mixers[tower.stack] !== "attention") {
    neighbours(pen, scene, tower, row, query, strength, share);
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
      const weight = (weights.roots[(head * weights.queries + query) * weights.keys + key] / 255) ** 2;
      if (weight < 0.02) continue;
      const points = cross
        ? rail(scene.plan, keys, tower, row, key, query, head - (weights.heads - 1) / 2)
        : curve(tower, row, key, query);
      thread(pen, points, cross, colour, weight, strength, share);
    }
  }
  pen.globalAlpha = 1;
}

const attention = (row: Row) => row.name.replace(/\.output$/, "");

/** A thread as far as the light has come, and the light on it. */
function thread(
  pen: CanvasRenderingContext2D,
  points: Point[],
  straight: boolean,
  colour: string,
  weight: number,
  strength: number,
  share: number,
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

/** From a key below a box to a query above it. */
function curve(tower: Tower, row: Row, key: number, query: number): Point[] {
  const [x0, x1, y0, y1] = [tower.at(key), tower.at(query), row.y + row.height, row.y];
  return Array.from({ length: 17 }, (_, k) => {
    const s = k / 16,
      smooth = s * s * (3 - 2 * s);
    return [x0 + (x1 - x0) * smooth, y0 + (y1 - y0) * s];
  });
}

/** From a token of the encoder's output, along the wire of the memory, to a query of the decoder. */
function rail(plan: Plan, encoder: Tower, decoder: Tower, row: Row, key: number, query: number, lane: number): Point[] {
  const aside = lane * Math.min(2.4, plan.em / 6);
  const up = encoder.top - 0.5 * plan.em + aside,
    level = row.y + row.height / 2 + aside;
  return [
    [encoder.at(key), encoder.top],
    [encoder.at(key), up],
    [plan.trunk + aside, up],
    [plan.trunk + aside, level],
    [decoder.at(query) + aside, level],
    [decoder.at(query) + aside, row.y],
  ];
}

/** The beginning of a path. */
function upTo(points: Point[], share: number): Point[] {
  const lengths = points.slice(1).map(([x, y], k) => Math.hypot(x - points[k][0], y - points[k][1]));
  let rest = share * lengths.reduce((a, b) => a + b, 0);
  const found: Point[] = [points[0]];
  for (const [k, length] of lengths.entries()) {
    if (rest <= length) {
      const s = length ? rest / length : 0;
      found.push([
        points[k][0] + s * (points[k + 1][0] - points[k][0]),
        points[k][1] + s * (points[k + 1][1] - points[k][1]),
      ]);
      return found;
    }
    found.push(points[k + 1]);
    rest -= length;
  }
  return found;
}

const woven = new WeakMap<Weights, Map<string, Path2D[]>>();
const SHADES = 6;

/** Of many queries at once, the mean of all heads. */
function weave(
  pen: CanvasRenderingContext2D,
  scene: Scene,
  tower: Tower,
  row: Row,
  first: number,
  last: number,
  strength: number,
  share: number,
): void {
  if (row.missing) return;
  if (row.part === "self" && scene.mixers[tower.stack] !== "attention") {
    for (let query = first; query <= last; query++) neighbours(pen, scene, tower, row, query, strength * 0.6, share);
    return;
  }
  const weights = scene.weights.get(attention(row));
  if (!weights || row.part === "cross") return;
  const known = woven.get(weights) ?? new Map<string, Path2D[]>();
  woven.set(weights, known);
  const key = [tower.pitch, tower.left, row.y, row.height, first, last].join();
  if (!known.has(key)) known.set(key, paths(scene, tower, row, weights, first, last));
  pen.save();
  pen.beginPath();
  pen.rect(tower.left, row.y + row.height * (1 - share), tower.right - tower.left, row.height * share);
  pen.clip();
  pen.strokeStyle = scene.theme.accent;
  for (const [shade, path] of known.get(key)!.entries()) {
    const weight = (shade + 0.7) / SHADES;
    pen.globalAlpha = strength * (0.1 + 0.75 * weight);
    pen.lineWidth = 0.5 + 1.4 * weight;
    pen.stroke(path);
  }
  pen.restore();
  pen.globalAlpha = 1;
}

function paths(scene: Scene, tower: Tower, row: Row, weights: Weights, first: number, last: number): Path2D[] {
  const found = Array.from({ length: SHADES }, () => new Path2D());
  const heads = Array.from({ length: weights.heads }, (_, head) => head).filter(
    (head) => !scene.off.has(`${attention(row)} ${head}`),
  );
  const middle = row.y + row.height / 2;
  for (let query = first; query <= last; query++)
    for (let key = 0; key < weights.keys; key++) {
      const share =
        heads.reduce(
          (sum, head) => sum + (weights.roots[(head * weights.queries + query) * weights.keys + key] / 255) ** 2,
          0,
        ) / weights.heads;
      if (share < 0.03) continue;
      const path = found[Math.min(SHADES - 1, Math.floor(share * SHADES))];
      path.moveTo(tower.at(key), row.y + row.height);
      path.bezierCurveTo(tower.at(key), middle, tower.at(query), middle, tower.at(query), row.y);
    }
  return found;
}

/** What a convolution or a recurrence takes from where; here nothing depends on the sentence. */
function neighbours(
  pen: CanvasRenderingContext2D,
  scene: Scene,
  tower: Tower,
  row: Row,
  query: number,
  strength: number,
  share: number,
): void {
  const decoder = tower.stack === "decoder";
  if (scene.mixers[tower.stack] === "convolution") {
    const before = decoder ? scene.kernel - 1 : Math.floor(scene.kernel / 2);
    for (let key = Math.max(0, query - before); key < Math.min(tower.count, query - before + scene.kernel); key++)
      thread(pen, curve(tower, row, key, query), false, scene.theme.accent, 0.4, strength, share);
  } else {
    const level = row.y + row.height / 2,
      from = query - 1;
    if (from >= 0)
      thread(
        pen,
        [
          [tower.at(from), level],
          [tower.at(query), level],
          [tower.at(query), row.y],
        ],
        false,
        scene.theme.accent,
        0.5,
        strength,
        share,
      );
    thread(
      pen,
      [
        [tower.at(query), row.y + row.height],
        [tower.at(query), row.y],
      ],
      false,
      scene.theme.accent,
      0.5,
      strength,
      share,
    );
  }
  pen.globalAlpha = 1;
}

/** After the encoder has read, its output goes to the blocks of the decoder. */
function memory(pen: CanvasRenderingContext2D, scene: Scene, now: Moment): void {
  if (now.stage !== "back" || now.pass.t !== null) return;
  for (const wire of scene.plan.wires) {
    if (wire.kind !== "memory" || wire.missing) continue;
    const path = upTo(wire.points, now.share);
    glow(pen, scene, ...path[path.length - 1], 0.45 * scene.plan.em);
  }
}

function glow(pen: CanvasRenderingContext2D, scene: Scene, x: number, y: number, radius: number): void {
  const shade = pen.createRadialGradient(x, y, 0, x, y, 2.4 * radius);
  shade.addColorStop(0, scene.theme.light);
  shade.addColorStop(0.3, scene.theme.light);
  shade.addColorStop(1, `${scene.theme.light}00`);
  pen.fillStyle = shade;
  pen.globalAlpha = 0.9;
  pen.beginPath();
  pen.arc(x, y, 2.4 * radius, 0, 2 * Math.PI);
  pen.fill();
  pen.globalAlpha = 1;
}

/** Where the positions that are being computed have come to, on the wires and round the sublayers. */
function light(pen: CanvasRenderingContext2D, scene: Scene, now: Moment): void {
  if (now.stage !== "rise") return;
  const { plan } = scene;
  const tower = towerOf(plan, now.pass);
  const many = now.pass.last > now.pass.first;
  const radius = many ? Math.max(1, Math.min(0.2 * plan.em, tower.pitch / 5)) : 0.45 * plan.em;
  for (let k = now.pass.first; k <= now.pass.last; k++) glow(pen, scene, tower.at(k), now.y, radius);
  for (const wire of plan.wires) {
    if (wire.kind !== "residual" || wire.missing || wire.points[1][0] !== tower.bypass) continue;
    const [from, to] = [wire.points[1][1], wire.points[2][1]];
    if (now.y <= from && now.y >= to) glow(pen, scene, tower.bypass, now.y, 0.26 * plan.em);
  }
}

const ease = (share: number) => share * share * (3 - 2 * share);

/** The distribution, the token that was chosen from it, and its way to the next input. */
function written(pen: CanvasRenderingContext2D, scene: Scene, now: Moment, passes: Pass[]): void {
  const { plan } = scene;
  const tower = plan.towers[plan.towers.length - 1];
  const shown = !scene.writes
    ? now.stage === "rise"
      ? null
      : scene.label
    : now.pass.t === null
      ? now.number
        ? passes[now.number - 1].t
        : null
      : now.stage === "rise"
        ? now.pass.t - 1
        : now.pass.t;
  const answering = now.pass.t !== null && now.stage !== "rise";
  const steps = scene.answers.length;
  const place = (t: number): Point => [
    tower.at(columnOf(scene, t)),
    plan.answers.y + plan.answers.height - 0.3 * plan.em,
  ];
  const settled = !answering
    ? (now.pass.t ?? 0)
    : now.stage === "back" || now.share >= 1
      ? now.pass.t! + 1
      : now.pass.t!;
  const complete = scene.writes ? settled : answering ? steps : 0;
  for (const group of scene.groups.answers) {
    if (group.first >= complete) break;
    const x = (place(group.first)[0] + place(group.end - 1)[0]) / 2;
    label(
      pen,
      scene,
      group.text(Math.min(group.end, complete)),
      x,
      place(0)[1],
      group.upright ? "above" : "standing",
      answering && scene.writes && group.end > now.pass.t! && group.first <= now.pass.t! ? "bold" : "",
    );
  }
  if (shown === null || shown < 0) return;
  const share = answering && now.stage === "answer" ? now.share : 1;
  bars(pen, scene, shown, answering ? Math.min(1, share * 2) : 1, answering ? 1 : 0.35);
  if (!answering || !scene.writes) return;
  const t = now.pass.t!;
  const text = scene.answers[t];
  const from = rowOf(scene, t);
  if (now.stage === "answer" && share < 1 && share > 0.5) {
    const s = ease(2 * share - 1),
      to = place(t);
    flying(pen, scene, text, from[0] + s * (to[0] - from[0]), from[1] + s * (to[1] - from[1]));
  }
  if (now.stage === "back" && t + 1 < steps) {
    const [x, y] = place(t);
    const target = tower.at(columnOf(scene, t) + 1),
      under = plan.towers[plan.towers.length - 1].bottom + 0.9 * plan.em;
    const path = upTo(
      [
        [x, y - 0.5 * plan.em],
        [plan.back, y - 0.5 * plan.em],
        [plan.back, under],
        [target, under],
      ],
      ease(now.share),
    );
    flying(pen, scene, text, ...path[path.length - 1]);
  }
}

/** The position that step t is computed at. */
const columnOf = (scene: Scene, t: number) => scene.begin + t;

function rowOf(scene: Scene, t: number): Point {
  const { distribution, em } = scene.plan;
  const at = Math.max(0, scene.chosen[t]);
  return [distribution.x + 3 * em, distribution.y + (at + 0.9) * distribution.line];
}

function flying(pen: CanvasRenderingContext2D, scene: Scene, text: string, x: number, y: number): void {
  const { em } = scene.plan;
  glow(pen, scene, x, y, 0.6 * em);
  pen.font = `bold ${letters(scene.plan, 0.8)}px ${scene.theme.font}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineWidth = 4;
  pen.strokeStyle = scene.theme.paper;
  pen.strokeText(text, x, y);
  pen.fillStyle = scene.theme.ink;
  pen.fillText(text, x, y);
}

function bars(pen: CanvasRenderingContext2D, scene: Scene, t: number, grown: number, alpha: number): void {
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
