// The scores: where the query meets a key, q·k, and that scaled.
import { brief } from "../../words";
import { isHidden } from "./computation";
import { BAND } from "./frame";
import { type ColumnProps, Value } from "./marks";

export function Dot({ of, frame, since, at }: ColumnProps) {
  const { x, asks, apart } = frame;
  if (isHidden(of, at)) return null;
  return (
    <g class={since("dots")}>
      <path class="meet" d={`M${asks},${BAND.query} L${x(at)},${BAND.dot + 4} L${x(at) - apart(at)},${BAND.vectors}`} />
      <circle cx={x(at)} cy={BAND.dot + 4} r="3" />
      {of.dots && frame.isNumbered(at) && (
        <Value frame={frame} at={at} y={BAND.dot - 4}>
          {brief(of.dots[at])}
        </Value>
      )}
    </g>
  );
}

export const Scaled = ({ of, frame, since, at }: ColumnProps) =>
  of.scores && frame.isNumbered(at) ? (
    <Value frame={frame} at={at} y={BAND.scaled} class={since("scaled")}>
      {brief(of.scores[at])}
    </Value>
  ) : null;
