// What every stage of the picture is drawn with.
import { column } from "../../pictures/vector";
import type { MaybeFloats } from "../../use";
import { ordinal } from "../../words";
import type { Computation, Step } from "./computation";
import { type Frame, TALL } from "./frame";

/** What a stage of the picture is given. */
export interface StageProps {
  of: Computation;
  frame: Frame;
  /** The class of what a step adds: it is not there before. */
  since: (step: Step) => string;
}

/** A stage in the column of a key. */
export type ColumnProps = StageProps & { at: number };

/** A letter with its place above it: a¹. */
export const Named = (props: { letter: string; place: number }) => (
  <>
    {props.letter}
    <tspan class="place" dy="-0.45em">
      {ordinal(props.place)}
    </tspan>
  </>
);

/** A vector as a column of colours around `x`, by the largest of its kind. */
export const Vector = (props: {
  values: MaybeFloats;
  of: Computation;
  frame: Frame;
  x: number;
  y: number;
  most: number;
  title: string;
}) =>
  props.values && (
    <image
      href={column(props.values, props.most, `${props.of.id} ${props.values.byteOffset} ${props.title}`)}
      x={props.x - props.frame.thin / 2}
      y={props.y}
      width={props.frame.thin}
      height={TALL}
      preserveAspectRatio="none"
    >
      <title>{props.title}</title>
    </image>
  );

/** A number of a key. */
export const Value = (props: { frame: Frame; at: number; y: number; class?: string; children: string }) => (
  <text class={`value ${props.class ?? ""}`} x={props.frame.x(props.at)} y={props.y} text-anchor="middle">
    {props.children}
  </text>
);
