// The time of the running picture: it runs, or stands still where it is put.
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

export const SPEEDS = [0.25, 0.5, 1, 2, 4];

/** Whoever wants no motion gets none that he does not start. */
export const calm = matchMedia("(prefers-reduced-motion: reduce)");

export interface Clock {
  /** Seconds from the beginning. */
  at: { readonly current: number };
  playing: Signal<boolean>;
  /** The place of its speed in SPEEDS. */
  speed: Signal<number>;
  run: (from: number, until: number) => void;
  stop: () => void;
  /** Stand still at a time. */
  show: (at: number) => void;
}

/** `moved`: the time is another one; `stopped`: it does not run any more. */
export function useClock(moved: () => void, stopped: () => void): Clock {
  const at = useRef(0);
  const running = useRef({ until: 0, last: 0, frame: 0 });
  const playing = useSignal(false);
  const speed = useSignal(2);
  // The picture may be laid out anew while it runs (the projector, the window, the language).
  const latest = useRef({ moved, stopped });
  latest.current = { moved, stopped };
  const halt = () => {
    cancelAnimationFrame(running.current.frame);
    playing.value = false;
  };
  const stop = () => {
    halt();
    latest.current.stopped();
  };
  const tick = (time: number) => {
    const now = running.current;
    const seconds = Math.min(0.1, (time - now.last) / 1000); // a tab that comes back goes on where it was
    at.current = Math.min(now.until, at.current + seconds * SPEEDS[speed.value]);
    now.last = time;
    latest.current.moved();
    if (at.current >= now.until) stop();
    else now.frame = requestAnimationFrame(tick);
  };
  const run = (from: number, until: number) => {
    halt();
    at.current = from;
    playing.value = true;
    running.current = { until, last: performance.now(), frame: requestAnimationFrame(tick) };
  };
  const show = (to: number) => {
    halt();
    at.current = to;
    latest.current.moved();
  };
  useEffect(() => halt, []);
  return { at, playing, speed, run, stop, show };
}
