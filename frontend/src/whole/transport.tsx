// What moves the running picture: play, steps, the time, and the speed.
import type { RefObject } from "preact";
import { writes } from "../data";
import { say, type Word } from "../words";
import { type Clock, SPEEDS } from "./clock";

export function Transport(props: {
  clock: Clock;
  slider: RefObject<HTMLInputElement | null>;
  /** The time at which all is done, and what happens now, in words. */
  end: number;
  caption: string;
  onPlay: () => void;
  onStep: (by: 1 | -1) => void;
  onToken: () => void;
  onSeek: (at: number) => void;
}) {
  const { playing, speed } = props.clock;
  const button = (word: Word, sign: string, act: () => void) => (
    <button type="button" aria-label={say(word)} title={say(word)} onClick={act}>
      {sign}
    </button>
  );
  return (
    <div class="transport" role="group" aria-label={say("steps")}>
      <button type="button" class="main" data-play onClick={props.onPlay}>
        {playing.value ? `❚❚ ${say("pause")}` : `▶ ${say("play")}`}
      </button>
      {button("whole_before", "‹", () => props.onStep(-1))}
      {button("whole_next", "›", () => props.onStep(1))}
      {writes() && button("whole_next_token", "»", props.onToken)}
      <input
        ref={props.slider}
        type="range"
        min={0}
        max={props.end}
        step={0.01}
        aria-label={say("whole_time")}
        aria-valuetext={props.caption}
        onInput={(event) => props.onSeek(Number(event.currentTarget.value))}
      />
      <label>
        {say("speed")}{" "}
        <select
          value={speed.value}
          onChange={(event) => {
            speed.value = Number(event.currentTarget.value);
          }}
        >
          {SPEEDS.map((each, k) => (
            <option key={each} value={k}>
              {each} ×
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}
