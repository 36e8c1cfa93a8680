// What the colours of a picture say.
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { dark, shareColour, signedColour } from "../colours";
import { brief, say } from "../words";
import { paint } from "./canvas";
import "./legend.css";

/** Whether pictures that belong together are drawn by the largest number of all, and not each by its own. */
export const common = signal(false);

const STEPS = 64;

/**
 * A scale of colours. `most`: the number of its ends, undefined where each strip has its own. `grouped`: there are
 * other pictures to be compared with.
 */
export function Legend(props: { shares?: boolean; most?: number; grouped?: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { shares, most } = props;
  useEffect(() => {
    const colour = (k: number) => (shares ? shareColour(k / (STEPS - 1)) : signedColour((2 * k) / (STEPS - 1) - 1));
    paint(canvas.current!, 1, STEPS, colour);
  }, [shares, dark.value]);
  const end = most === undefined ? say("own_largest") : brief(most);
  return (
    <p class="legend">
      <span>
        {shares ? "0" : `−${end}`} <canvas ref={canvas} aria-hidden="true" /> {shares ? say("by_root") : `+${end}`}
      </span>
      {props.grouped && (
        <label>
          <input
            type="checkbox"
            checked={common.value}
            onChange={() => {
              common.value = !common.value;
            }}
          />{" "}
          {say("common_scale")}
        </label>
      )}
    </p>
  );
}
