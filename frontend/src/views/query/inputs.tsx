// The inputs of the attention: a token each.
import { isolate } from "../../words";
import { BAND, shortened } from "./frame";
import { type ColumnProps, Named, type StageProps } from "./marks";

export const InputOfKey = ({ of, frame, at }: ColumnProps) => (
  <>
    <rect class="box" x={frame.x(at) - frame.cell * 0.42} y={BAND.box} width={frame.cell * 0.84} height="30" rx="4" />
    {frame.isNamed(at) && (
      <text x={frame.x(at)} y={BAND.box + 20} text-anchor="middle">
        <Named letter={of.cross ? `${of.letters.input}̄` : of.letters.input} place={at} />
      </text>
    )}
    <text
      class="token-name"
      x={frame.x(at)}
      y={BAND.token}
      text-anchor={frame.roomy ? "middle" : "end"}
      transform={frame.roomy ? "" : `rotate(-60 ${frame.x(at)} ${BAND.token})`}
    >
      {isolate(shortened(of.names[at]))}
    </text>
  </>
);

/** In cross-attention the token that asks is none of those that answer: it stands at their left. */
export const InputOfQuery = ({ of, frame: { asks } }: StageProps) => (
  <>
    <rect class="box asks" x={asks - 28} y={BAND.box} width="56" height="30" rx="4" />
    <text x={asks} y={BAND.box + 20} text-anchor="middle">
      <Named letter={of.letters.input} place={of.i} />
    </text>
    <text class="token-name" x={asks} y={BAND.token} text-anchor="middle">
      {isolate(of.asking)}
    </text>
  </>
);
