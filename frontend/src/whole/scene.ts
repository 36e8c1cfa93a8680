// What is painted: the picture's plan, with the trace's vectors and weights as they arrive.
import { useEffect, useMemo } from "preact/hooks";
import { dark, paper } from "../colours";
import { answerTokens, begin, floats, hasMask, model, roots, trace, writes } from "../data";
import { labels, tokenName } from "../pictures/tokens";
import type { arrange } from "./arrange";
import { type Scene, type Theme, strip } from "./paint";

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
    const { steps } = now.replay,
      answers = answerTokens();
    const top = steps.map((step) =>
      step.top
        .filter((each) => each.log_prob !== null)
        .map((each) => ({ text: tokenName(each.id, each.piece), p: Math.exp(each.log_prob!) })),
    );
    const chosen = steps.map((step, t) =>
      step.top.filter((each) => each.log_prob !== null).findIndex((each) => each.id === answers.ids[t]),
    );
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
      causal: hasMask(),
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
