// The ways that threads, light and tokens take.
import { sum } from "../numbers";
import type { Placed, Plan, Tower } from "./plan";

export type Point = [number, number];

/** From a key below a box to a query above it. */
export function curve(tower: Tower, row: Placed, key: number, query: number): Point[] {
  const [x0, x1, y0, y1] = [tower.at(key), tower.at(query), row.y + row.height, row.y];
  return Array.from({ length: 17 }, (_, k) => {
    const s = k / 16,
      smooth = s * s * (3 - 2 * s);
    return [x0 + (x1 - x0) * smooth, y0 + (y1 - y0) * s];
  });
}

/** From a token of the encoder's output, along the wire of the memory, to a query of the decoder. */
export function rail(
  plan: Plan,
  encoder: Tower,
  decoder: Tower,
  row: Placed,
  key: number,
  query: number,
  lane: number,
): Point[] {
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
export function upTo(points: Point[], share: number): Point[] {
  const lengths = points.slice(1).map(([x, y], k) => Math.hypot(x - points[k][0], y - points[k][1]));
  let rest = share * sum(lengths);
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
