// The softmax of the scores: the exponential of each, and its share in their sum.
import { sum } from "../../numbers";
import { brief, show } from "../../words";
import { BAND } from "./frame";
import { type ColumnProps, type StageProps, Value } from "./marks";

export const Exponential = ({ of: { exps }, frame, since, at }: ColumnProps) =>
  exps && frame.isNumbered(at) ? (
    <Value frame={frame} at={at} y={BAND.exp} class={since("exp")}>
      {brief(exps[at])}
    </Value>
  ) : null;

/** The height of the largest share. */
const HIGH = 22;

export function Share({ of: { shares }, frame, since, at }: ColumnProps) {
  const { x, cell } = frame;
  const high = (HIGH * shares[at]) / Math.max(...shares, 1e-9);
  return (
    <g class={since("shares")}>
      {shares[at] > 0 && (
        <rect class="share" x={x(at) - cell * 0.3} y={BAND.shares - high} width={cell * 0.6} height={high} />
      )}
      {frame.isNumbered(at) && (
        <Value frame={frame} at={at} y={BAND.shares + 14}>
          {brief(shares[at])}
        </Value>
      )}
    </g>
  );
}

/** The box over all columns. */
export function Softmax({ of, frame: { left, cell }, since }: StageProps) {
  const { score } = of.letters;
  return (
    <g class={since("exp")}>
      <rect class="soft" x={left - 4} y={BAND.softmax - 14} width={cell * of.names.length + 8} height="20" rx="4" />
      <text x={left + 4} y={BAND.softmax + 1}>
        softmax: e^({score} − {score} max) ÷ Σ{of.exps ? ` = ${show(sum(of.exps), 3)}` : ""}
      </text>
    </g>
  );
}
