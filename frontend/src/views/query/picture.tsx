// The lecture's picture: inputs below, queries and keys above them, scores where they meet, and the weighted sum on top.
import { useRef } from "preact/hooks";
import { trace } from "../../data";
import { projector } from "../../keys";
import { Legend } from "../../pictures/legend";
import { useRoom } from "../../pictures/room";
import { alone, Save } from "../../pictures/save";
import { say } from "../../words";
import { type Computation, isHidden, type Step, STEPS, wordOf } from "./computation";
import { BAND, type Frame, frameOf, TALL } from "./frame";
import { InputOfKey } from "./inputs";
import type { StageProps } from "./marks";
import { KeyAndValue, Query } from "./products";
import { Dot, Scaled } from "./scores";
import { Exponential, Share, Softmax } from "./softmax";
import { Flow, Sum } from "./sum";

/** The picture as it is at a step; `off`: the head is switched off. */
export function Picture(props: { of: Computation; step: number; off: boolean; onKey: (j: number) => void }) {
  const { of, step } = props;
  const drawing = useRef<SVGSVGElement>(null);
  const [box, room] = useRoom(projector.value, trace.value);
  const frame = frameOf(of, room);
  const { width, height } = frame;
  const since = (from: Step) => (step > STEPS.indexOf(from) ? "" : step === STEPS.indexOf(from) ? "now" : "later");
  const stage: StageProps = { of, frame, since };
  return (
    <figure class={props.off ? "off" : ""}>
      <div ref={box} class="scroll" tabIndex={0} role="region" aria-label={say("view_query")}>
        <svg
          ref={drawing}
          class="attend"
          style={{ "--value": `${frame.digits}px` }}
          width={frame.scale * width}
          viewBox={`0 0 ${width} ${height}`}
          role="img"
          aria-label={say("picture_of_query", { token: of.asking, step: say(wordOf(STEPS[step])) })}
        >
          {of.names.map((_, at) => (
            <g
              key={at}
              class={`${at === of.j ? "lit" : ""} ${isHidden(of, at) ? "hidden" : ""}`}
              onClick={() => props.onKey(at)}
            >
              <Touch frame={frame} at={at} />
              <InputOfKey {...stage} at={at} />
              <KeyAndValue {...stage} at={at} />
              <Dot {...stage} at={at} />
              <Scaled {...stage} at={at} />
              <Exponential {...stage} at={at} />
              <Share {...stage} at={at} />
              <Flow {...stage} at={at} />
            </g>
          ))}
          <Query {...stage} />
          <Softmax {...stage} />
          <Sum {...stage} />
          <RowNames {...stage} />
        </svg>
      </div>
      <figcaption class="tools">
        <Legend />
        <Save name={say("view_query")} svg={() => drawing.current && alone(drawing.current)} />
      </figcaption>
    </figure>
  );
}

/** Where a column can be clicked. */
function Touch({ frame: { x, cell, height }, at }: { frame: Frame; at: number }) {
  const top = BAND.exp - 60;
  return <rect class="touch" x={x(at) - cell / 2} y={top} width={cell} height={height - top} />;
}

/** What the lines of numbers are. */
function RowNames({ of: { letters }, frame, since }: StageProps) {
  const rows: [number, string, Step][] = [
    [BAND.shares + 14, letters.weight, "shares"],
    [BAND.exp, "exp", "exp"],
    [BAND.scaled, letters.score, "scaled"],
    [BAND.dot - 4, "q·k", "dots"],
    [BAND.box - 6, "W", "products"],
  ];
  return (
    <g class="rows">
      {rows.map(([y, name, step]) => (
        <text key={name} class={`small ${since(step)}`} x="2" y={y}>
          {name}
        </text>
      ))}
      {!frame.roomy && (
        <text class={`small ${since("products")}`} x="2" y={BAND.vectors + TALL / 2}>
          {letters.key} {letters.value}
        </text>
      )}
    </g>
  );
}
