// The block as the paper draws it, with the vectors of one token on its wires.
import { useRef } from "preact/hooks";
import { model, trace } from "../../data";
import { projector } from "../../keys";
import { lengthOf } from "../../numbers";
import { pressable } from "../../parts";
import { largest } from "../../pictures/canvas";
import { common, Legend } from "../../pictures/legend";
import { useRoom } from "../../pictures/room";
import { alone, csvOf, Save } from "../../pictures/save";
import { row } from "../../pictures/vector";
import { select, type Stack } from "../../state";
import { useAll } from "../../use";
import { brief, say, show } from "../../words";
import type { Piece, Sublayer } from "./pieces";

/** The picture's left edge and width: on a telephone, what stands on the wires is seen without scrolling. */
const LEFT = 50;
const WIDE = 570;
const HIGH = { wire: 40, box: 46, plus: 34 };

/** The size of letters; where `x` would be if they had 14 pixels is further away if they are larger. */
interface Frame {
  letters: number;
  x: (place: number) => number;
  /** The upper edges of all pieces. */
  tops: number[];
}

/** `shown`: of the wires, from below; those above come later. `at`: the token. */
export function Picture(props: { stack: Stack; layer: number; of: Piece[]; at: number; shown: number }) {
  const { stack, layer, of, at, shown } = props;
  const drawing = useRef<SVGSVGElement>(null);
  const { width } = model.value!.config;
  const wires = of.flatMap((each) => (each.is === "wire" ? [each.name] : []));
  const all = useAll(wires);
  const vector = (name: string) => {
    const values = all?.[wires.indexOf(name)];
    return values ? values.subarray(at * width, (at + 1) * width) : null;
  };
  const most = common.value ? largest(...wires.map(vector)) : undefined;
  const total = of.reduce((sum, each) => sum + HIGH[each.is], 0) + 20;
  const [box, room] = useRoom(projector.value, trace.value, stack);
  // On a projector letters are 24 pixels high, and all that stands beside them is as much further away.
  const scale = projector.value && room ? Math.max(0.85, Math.min((room.height - 3 * room.em) / total, 2)) : 1;
  const letters = projector.value ? Math.max(14, 24 / scale) : 14;
  let height = total - 10;
  const tops = of.map((each) => (height -= HIGH[each.is]));
  const x = (place: number) => (place * letters) / 14;
  const frame = { letters, x, tops };
  // Steps count wires: a box and a plus belong to the wire that they make.
  const step = (k: number) => of.slice(0, k).filter((each) => each.is === "wire").length;
  const since = (k: number) => (step(k) > shown ? "later" : step(k) === shown ? "now" : "");
  const length = (piece: Piece) => {
    const values = piece.is === "wire" ? vector(piece.name) : null;
    return values && lengthOf(values);
  };
  const title = say("block_of", { stack: say(stack) });
  return (
    <figure>
      <div ref={box} class="scroll" tabIndex={0} role="region" aria-label={title}>
        <svg
          ref={drawing}
          class="block-picture"
          width={x(WIDE) * scale}
          viewBox={`${x(LEFT)} 0 ${x(WIDE)} ${total}`}
          font-size={letters}
          role="group"
        >
          {of.map((each, k) => {
            const shared = { key: k, k, frame, since: since(k) };
            if (each.is === "wire")
              return <Wire {...shared} of={each} values={vector(each.name)} most={most} at={at} />;
            if (each.is === "plus") return <Plus {...shared} of={each} />;
            return (
              <Box
                {...shared}
                of={each}
                lengths={[length(of[k - 1]), length(of[k + 1])]}
                onOpen={(kind) => select({ view: kind === "cross" ? "cross" : "heads", stack, layer, kind })}
              />
            );
          })}
        </svg>
      </div>
      <figcaption class="tools">
        <Legend most={most} grouped />
        <Save
          name={title}
          svg={() => drawing.current && alone(drawing.current)}
          csv={
            all && !all.includes(null)
              ? () =>
                  csvOf([
                    ["", say("length"), ...Array.from({ length: width }, (_, c) => String(c))],
                    ...wires.map((name) => [name, lengthOf(vector(name)!), ...vector(name)!]),
                  ])
              : null
          }
        />
      </figcaption>
    </figure>
  );
}

/** A piece in its place. */
interface PieceProps<Of extends Piece["is"]> {
  of: Extract<Piece, { is: Of }>;
  k: number;
  frame: Frame;
  since: string;
}

function Wire(props: PieceProps<"wire"> & { values: Float32Array | null; most?: number; at: number }) {
  const { of, frame, values, most, at } = props;
  const { x, letters } = frame;
  const top = frame.tops[props.k];
  const middle = top + HIGH.wire / 2;
  const name = `${of.name} ${at} ${trace.value!.id} ${trace.value!.text}`;
  return (
    <g class={props.since}>
      <line x1={x(200)} x2={x(200)} y1={top + HIGH.wire} y2={top} />
      {values && (
        <>
          <image
            class="on-wire"
            href={row(values, most ?? largest(values), name)}
            x={x(120)}
            y={middle - 7}
            width={x(160)}
            height="14"
            preserveAspectRatio="none"
          >
            <title>{of.name}</title>
          </image>
          <text x={x(296)} y={middle + letters / 3}>
            ‖{of.title === "x" ? "x" : "·"}‖ = {show(lengthOf(values), 2)}
          </text>
        </>
      )}
    </g>
  );
}

function Plus(props: PieceProps<"plus">) {
  const { x, letters, tops } = props.frame;
  const top = tops[props.k];
  const middle = top + HIGH.plus / 2;
  const from = tops[props.of.from] + HIGH.wire - 4;
  return (
    <g class={props.since}>
      <path class="around" d={`M${x(200)},${from} H${x(60)} V${middle} H${x(200) - 12}`} />
      <circle cx={x(200)} cy={middle} r="12" />
      <text x={x(200)} y={middle + letters / 3} text-anchor="middle">
        +
      </text>
      <line x1={x(200)} x2={x(200)} y1={top} y2={middle - 12} />
      <line x1={x(200)} x2={x(200)} y1={top + HIGH.plus} y2={middle + 12} />
    </g>
  );
}

/** `lengths`: of the vectors below and above. An attention opens the view that shows it. */
function Box(props: PieceProps<"box"> & { lengths: [number | null, number | null]; onOpen: (kind: Sublayer) => void }) {
  const { kind, title } = props.of;
  const { x, letters, tops } = props.frame;
  const [below, above] = props.lengths;
  const top = tops[props.k];
  const middle = top + HIGH.box / 2;
  const opens = kind === "self" || kind === "cross";
  const open = () => opens && props.onOpen(kind);
  return (
    <g class={`${props.since} unit ${kind} ${opens ? "opens" : ""}`} onClick={open} {...(opens && pressable(open))}>
      <rect x={x(100)} y={top + 3} width={x(200)} height={HIGH.box - 6} rx="6" />
      <text x={x(200)} y={middle + letters / 3} text-anchor="middle">
        {title}
      </text>
      {kind === "norm" && below !== null && above !== null && (
        <text class="small" x={x(314)} y={middle + letters / 3}>
          {brief(below)} → {brief(above)}
        </text>
      )}
      {kind === "cross" && (
        <>
          <path class="around" d={`M${x(560)},${middle} H${x(300)}`} />
          <text class="small" x={x(420)} y={middle - 5}>
            {say("encoder")}: K, V
          </text>
        </>
      )}
    </g>
  );
}
