// A number as a bar, on a linear or a logarithmic scale.
import type { Signal } from "@preact/signals";
import { say } from "../words";
import "./bar.css";

/** The orders of magnitude below the longest bar that a logarithmic scale shows. */
const DECADES = 6;

/** `share` of the longest bar; nothing has no bar. */
export function Bar(props: { share: number; log?: boolean; rest?: boolean }) {
  const long = props.log ? 1 + Math.log10(props.share) / DECADES : props.share;
  return long > 0 ? (
    <span class={`bar ${props.rest ? "rest" : ""}`} style={{ width: `${100 * Math.min(1, long)}%` }} />
  ) : null;
}

/** The switch between the scales; `from` is what has no bar any more. */
export const LogScale = (props: { on: Signal<boolean>; from: string }) => (
  <label class="scale">
    <input
      type="checkbox"
      checked={props.on.value}
      onChange={() => {
        props.on.value = !props.on.value;
      }}
    />{" "}
    {say("log_scale", { from: props.from })}
  </label>
);
