// When what happens in the running picture: first the encoder reads, then the decoder writes one token after another.
import type { Stack } from "../state";
import type { Plan, Tower } from "./plan";
import type { Part, Row } from "./rows";

/** Some positions rise through a stack together. */
export interface Pass {
  stack: Stack;
  first: number;
  last: number;
  /** The step of decoding; null while only reading. */
  t: number | null;
  start: number;
  /** Seconds through the stack. */
  rise: number;
  /** Seconds until the answer is read, and until it is back at the input. */
  answer: number;
  back: number;
}

export interface Moment {
  pass: Pass;
  /** The number of the pass. */
  number: number;
  stage: "rise" | "answer" | "back";
  /** How much of the stage is over. */
  share: number;
  /** The row that the light is in, and how far it is in it. */
  row: number;
  within: number;
  /** How high the light is. */
  y: number;
}

const SECONDS: Record<Part, number> = {
  embedding: 0.35,
  positions: 0.25,
  norm: 0.13,
  self: 0.75,
  cross: 0.75,
  feed_forward: 0.3,
  add: 0.15,
  add_norm: 0.22,
  output: 0.3,
};
const LANE = 0.06;
const seconds = (row: Row) => (row.kind === "lane" ? LANE : SECONDS[row.part]);
const [ANSWER, BACK] = [0.9, 0.9];
/** All steps but the first are this much faster. */
const LATER = 0.35;

/** All passes. `steps`: how many tokens are written; `begin`: where the first of them is written from. */
export function passes(plan: Plan, steps: number, begin: number, writes: boolean): Pass[] {
  const found: Pass[] = [];
  let at = 0;
  const add = (
    stack: Stack,
    first: number,
    last: number,
    t: number | null,
    tempo: number,
    answer: number,
    back: number,
  ) => {
    const tower = plan.towers.find((each) => each.stack === stack)!;
    const layers = tower.rows.filter((row) => row.kind === "box" && row.part === "self").length;
    const rise = tempo * Math.min(1, 2 / layers) ** 0.6 * tower.rows.reduce((sum, row) => sum + seconds(row), 0);
    found.push({ stack, first, last, t, start: at, rise, answer, back });
    at += rise + answer + back;
  };
  const last = plan.towers[plan.towers.length - 1];
  if (!writes) {
    add(last.stack, 0, last.count - 1, 0, 1, ANSWER, 0);
    return found;
  }
  if (plan.towers.length > 1) add("encoder", 0, plan.towers[0].count - 1, null, 1, 0, BACK);
  for (let t = 0; t < steps; t++) {
    const tempo = t ? LATER : 1;
    add(
      "decoder",
      t ? begin + t : 0,
      begin + t,
      t,
      tempo,
      tempo * ANSWER + 0.2,
      t === steps - 1 ? 0 : tempo * BACK + 0.2,
    );
  }
  return found;
}

export const end = (all: Pass[]) => {
  const last = all[all.length - 1];
  return last.start + last.rise + last.answer + last.back;
};

export function moment(plan: Plan, all: Pass[], at: number): Moment {
  const number = Math.max(0, all.filter((pass) => pass.start <= at).length - 1);
  const pass = all[number];
  const tower = towerOf(plan, pass);
  let rest = at - pass.start;
  const top = { pass, number, row: tower.rows.length - 1, within: 1, y: tower.top };
  if (rest >= pass.rise + pass.answer) {
    const share = pass.back ? Math.min(1, (rest - pass.rise - pass.answer) / pass.back) : 0;
    const to = plan.towers[plan.towers.length - 1].bottom;
    return { ...top, stage: "back", share, y: tower.top + share * (to - tower.top) };
  }
  if (rest >= pass.rise) return { ...top, stage: "answer", share: pass.answer ? (rest - pass.rise) / pass.answer : 1 };
  const share = rest / pass.rise;
  const tempo = pass.rise / tower.rows.reduce((sum, row) => sum + seconds(row), 0);
  for (const [row, each] of tower.rows.entries()) {
    const lasts = tempo * seconds(each);
    if (rest < lasts || row === tower.rows.length - 1) {
      const below = row ? tower.rows[row - 1].y : tower.bottom;
      const within = Math.min(1, rest / lasts);
      return { pass, number, stage: "rise", share, row, within, y: below + (each.y - below) * within };
    }
    rest -= lasts;
  }
  throw new Error("a stack has rows");
}

export const towerOf = (plan: Plan, pass: Pass): Tower => plan.towers.find((each) => each.stack === pass.stack)!;

/** The times at which a box has been passed, or an answer was given. */
export function stops(plan: Plan, all: Pass[]): number[] {
  return all.flatMap((pass) => {
    const { rows } = towerOf(plan, pass);
    const tempo = pass.rise / rows.reduce((sum, row) => sum + seconds(row), 0);
    let at = pass.start;
    const found: number[] = [];
    for (const [k, row] of rows.entries()) {
      at += tempo * seconds(row);
      if (row.kind === "box" && rows[k + 1]?.kind === "lane") continue; // the lane above shows what came of it
      found.push(at - 0.001);
    }
    if (pass.answer) found.push(pass.start + pass.rise + pass.answer - 0.001);
    return found;
  });
}

/** Where the step t is at its end, its token chosen. */
export function endOf(all: Pass[], t: number): number {
  const pass = all.find((each) => each.t === t) ?? all[all.length - 1];
  return pass.start + pass.rise + pass.answer - 0.001;
}
