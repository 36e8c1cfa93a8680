// What is painted: the picture's plan, with the trace's vectors and weights as they arrive.
import { useEffect, useMemo } from "preact/hooks";
import { dark, paper } from "../colours";
import { answerTokens, begin, floats, model, roots, trace, writes } from "../data";
import { labels, tokenName } from "../pictures/tokens";
import type { Stack } from "../state";
import type { arrange } from "./arrange";
import type { Plan } from "./plan";
import { strip } from "./vectors";

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
  /** The label whose distribution is shown, in the encoder shape. */
  label: number;
  /** A position whose threads are wanted. */
  looked: { stack: Stack; position: number } | null;
}

function theme(element: Element): Theme {
  const style = getComputedStyle(element);
  const of = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: of("ink"),
    faint: of("faint"),
    paper: of("paper"),
    accent: of("accent"),
    light: of("light"),
    plus: of("plus"),
    minus: of("minus"),
    bad: of("bad"),
    heads: Array.from({ length: 8 }, (_, k) => of(`head-${k}`)),
    font: style.fontFamily,
  };
}

/** The vectors and weights of the trace, as they arrive. */
export function useScene(
  drawn: ReturnType<typeof arrange> | null,
  box: { current: HTMLElement | null },
  redraw: () => void,
): Scene | null {
  const now = trace.value!;
  const colours = `${dark.value} ${paper.value}`;
  const scene = useMemo((): Scene | null => {
    if (!drawn || !box.current) return null;
    const { config } = model.value!;
    const { steps } = now.replay;
    const answers = answerTokens();
    const top = steps.map((step) =>
      step.top.map((each) => ({ text: tokenName(each.id, each.piece), p: Math.exp(each.log_prob) })),
    );
    const chosen = steps.map((step, t) => step.top.findIndex((each) => each.id === answers.ids[t]));
    return {
      ...drawn,
      theme: theme(box.current),
      ratio: Math.min(2, devicePixelRatio || 1),
      strips: new Map(),
      weights: new Map(),
      off: new Set(now.what_if.heads_off.map(([name, head]) => `${name} ${head}`)),
      top,
      chosen,
      answers: labels(answers),
      begin: begin(),
      without: new Set(config.without),
      writes: writes(),
      mixers: { encoder: config.encoder_mixer, decoder: config.decoder_mixer },
      kernel: config.kernel,
      label: 0,
      looked: null,
    };
  }, [drawn, now, colours]);
  useEffect(() => {
    if (!scene) return;
    let current = true;
    const then = <T>(wanted: Promise<T | null>, use: (found: T) => void) =>
      wanted.then((found) => {
        if (current && found) {
          use(found);
          redraw();
        }
      });
    for (const tower of scene.plan.towers)
      for (const row of tower.rows)
        if (row.kind === "lane")
          then(floats(row.name), (values) =>
            scene.strips.set(row.name, strip(tower, row, values, scene.ratio, scene.theme)),
          );
        else if (row.part === "self" || row.part === "cross") {
          const name = row.name.replace(/\.output$/, ""),
            shape = now.shapes[`${name}.weights`];
          if (shape)
            then(roots(`${name}.weights`), (found) =>
              scene.weights.set(name, { heads: shape[0], queries: shape[1], keys: shape[2], roots: found }),
            );
        }
    return () => {
      current = false;
    };
  }, [scene]);
  return scene;
}
