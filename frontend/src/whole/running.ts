// The picture of the present answer as it runs: what is painted when, and where its time leads.
import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { paper } from "../colours";
import { answerTokens, begin, trace, writes } from "../data";
import { clamp, number, select } from "../state";
import type { arrange } from "./arrange";
import { calm, useClock } from "./clock";
import { narration } from "./narration";
import { paint } from "./paint";
import { useScene } from "./scene";
import type { Looked } from "./signs";
import { end, endOf, moment, type Pass, passes, stops } from "./time";

/** `box`: what the picture can be scrolled in. */
export function useRunning(
  drawn: ReturnType<typeof arrange> | null,
  box: { current: HTMLElement | null },
  looked: Looked | null,
) {
  const now = trace.value!;
  const canvas = useRef<HTMLCanvasElement>(null);
  const slider = useRef<HTMLInputElement>(null);
  const followed = useRef(-1);
  const caption = useSignal("");
  const printed = useSignal<string | null>(null);
  const steps = answerTokens().ids.length;
  const chosen = () => number("t", steps);
  const all = useMemo((): Pass[] => (drawn ? passes(drawn.plan, steps, begin(), writes()) : []), [drawn, now]);
  const ends = all.length ? end(all) : 0;

  const draw = () => {
    if (!scene || !canvas.current || !all.length) return;
    const at = moment(scene.plan, all, clock.at.current);
    scene.label = chosen();
    scene.looked = looked?.position == null ? null : { stack: looked.stack, position: looked.position };
    paint({ pen: canvas.current.getContext("2d")!, scene, now: at }, all);
    if (slider.current) slider.current.value = String(clock.at.current);
    // Where the picture is higher than its room, the light stays in the middle; but one may look elsewhere meanwhile.
    if (followed.current !== clock.at.current) box.current!.scrollTop = at.y - box.current!.clientHeight / 2;
    followed.current = clock.at.current;
    // A browser prints what was drawn on a canvas while it prepares for it in another size, and not transparently.
    printed.value = paper.value ? canvas.current.toDataURL() : null;
    caption.value = narration(scene, at);
  };
  /** The step of decoding that is shown; null while the encoder reads. */
  const step = () => moment(drawn!.plan, all, clock.at.current).pass.t;
  /** All views show the step at which the picture stands. */
  const settle = () => {
    const t = all.length && writes() ? step() : null;
    if (t !== null && t !== chosen()) select({ t });
  };
  const clock = useClock(draw, settle);
  const scene = useScene(drawn, box, () => draw());

  const seek = (at: number) => {
    clock.show(Math.max(0, Math.min(ends, at)));
    settle();
  };
  const play = () => {
    if (clock.playing.value) clock.stop();
    else clock.run(clock.at.current >= ends - 0.01 ? 0 : clock.at.current, ends);
  };
  /** To the next stop, or to the one before. */
  const move = (by: 1 | -1) => {
    const at = clock.at.current;
    const places = stops(drawn!.plan, all);
    const next = by > 0 ? places.find((each) => each > at + 0.002) : places.filter((each) => each < at - 0.002).at(-1);
    if (by > 0 && next !== undefined && !calm.matches) clock.run(at, next);
    else seek(next ?? (by > 0 ? ends : 0));
  };
  /** To the end of a step, its token chosen. */
  const seekStep = (t: number) => seek(t < 0 ? 0 : endOf(all, clamp(t, steps)));
  const nextStep = () => seekStep((step() ?? -1) + 1);

  // A new answer is played; the page as it was left, or a link to a step, stands still.
  const known = useRef<unknown>(null);
  useLayoutEffect(() => {
    if (!scene) return;
    canvas.current!.width = scene.plan.width * scene.ratio;
    canvas.current!.height = scene.plan.height * scene.ratio;
    if (known.current === now) {
      draw();
      return;
    }
    known.current = now;
    const t = chosen();
    if (!t && !calm.matches) clock.run(0, ends);
    else clock.show(writes() ? endOf(all, t || steps - 1) : ends);
  }, [scene]);
  useEffect(draw, [looked]);
  // Another view, or a link, has chosen another step.
  useEffect(() => {
    if (!scene) return;
    if (!writes()) draw();
    else if (!clock.playing.value && all.length && known.current === now && step() !== chosen())
      seek(endOf(all, chosen()));
  }, [chosen()]);

  return { canvas, slider, scene, clock, ends, caption, printed, play, move, seek, seekStep, nextStep, settle };
}
