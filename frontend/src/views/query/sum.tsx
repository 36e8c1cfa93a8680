// The weighted sum of the values.
import { BAND } from "./frame";
import { type ColumnProps, Named, type StageProps } from "./marks";

/** What the sum takes from a key. */
export const Flow = ({ of: { shares }, frame, since, at }: ColumnProps) =>
  shares[at] > 0 ? (
    <g class={since("sum")}>
      <line
        class="flow"
        x1={frame.x(at)}
        y1={BAND.shares - 24}
        x2={frame.asks}
        y2={BAND.sum + 11}
        stroke-width={1 + 6 * shares[at]}
        stroke-opacity={0.15 + 0.85 * shares[at]}
      />
    </g>
  ) : null;

export const Sum = ({ of: { letters, i }, frame: { asks }, since }: StageProps) => (
  <g class={since("sum")}>
    <circle class="sum" cx={asks} cy={BAND.sum} r="12" />
    <text x={asks} y={BAND.sum + 5} text-anchor="middle">
      Σ
    </text>
    <line x1={asks} y1={BAND.sum - 12} x2={asks} y2={BAND.result + 6} />
    <text class="query" x={asks} y={BAND.result} text-anchor="middle">
      <Named letter={letters.result} place={i} />
    </text>
    <text class="small" x={asks + 20} y={BAND.sum + 4}>
      Σ {letters.weight}·{letters.value}
    </text>
  </g>
);
