// A picture that is made step by step: play, pause, one step, any step.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { say } from "../words";

const PACE_MS = 1100;

/** The step that is shown of so many, and what moves it. */
export function usePlayer(steps: number) {
  const last = steps - 1;
  /** Infinity at the end: a picture that is complete stays so when it gets more steps. */
  const chosen = useSignal(Infinity);
  const playing = useSignal(false);
  const at = Math.min(last, chosen.value);
  const move = (to: number) => {
    chosen.value = to < last ? Math.max(0, to) : Infinity;
  };
  useEffect(() => {
    if (!playing.value) return;
    const timer = setTimeout(() => {
      move(at + 1);
      if (at + 1 >= last) playing.value = false;
    }, PACE_MS);
    return () => clearTimeout(timer);
  }, [playing.value, at]);
  const go = (to: number) => {
    playing.value = false;
    move(to);
  };
  const play = () => {
    if (at === last) move(0);
    playing.value = true;
  };
  const pause = () => {
    playing.value = false;
  };
  return { at, playing: playing.value, go, play, pause, steps };
}

/** `names`: of the steps, in their order. */
export function Player(props: { of: ReturnType<typeof usePlayer>; names: string[] }) {
  const { at, playing, go, play, pause, steps } = props.of;
  return (
    <div class="play" role="group" aria-label={say("steps")}>
      <button type="button" data-play onClick={playing ? pause : play}>
        {playing ? `❚❚ ${say("pause")}` : `▶ ${say("play")}`}
      </button>
      <button type="button" aria-label={say("step_back")} disabled={at === 0} onClick={() => go(at - 1)}>
        ‹
      </button>
      <button type="button" aria-label={say("step_on")} disabled={at === steps - 1} onClick={() => go(at + 1)}>
        ›
      </button>
      <input
        type="range"
        min={0}
        max={steps - 1}
        value={at}
        aria-label={say("steps")}
        aria-valuetext={props.names[at]}
        onInput={(event) => go(Number(event.currentTarget.value))}
      />
      {props.names.map((name, k) => (
        <button type="button" key={name} aria-current={k === at ? "step" : undefined} onClick={() => go(k)}>
          {name}
        </button>
      ))}
    </div>
  );
}
