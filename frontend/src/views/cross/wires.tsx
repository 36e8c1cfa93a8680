// Wires from source to target: the stronger one is drawn, the more of a value was taken.
import { useRef } from "preact/hooks";
import { projector } from "../../keys";
import { viewport, widest } from "../../pictures/canvas";
import { alone, csvOf, Save } from "../../pictures/save";
import { isolate, say } from "../../words";

/** Weaker wires are not drawn. */
const LEAST = 0.03;
/** Names are no wider, in pixels of letters of the page. */
const WIDEST = 220;

interface Layout {
  width: number;
  height: number;
  /** The distance of two names, and the size of their letters. */
  gap: number;
  letters: number;
  /** Where wires begin and end. */
  left: number;
  right: number;
  /** The first name of the source, and of the target. */
  from: number;
  to: number;
}

/** Names stand as far apart as the window allows, so that all are seen at once. */
function layoutOf(sources: string[], targets: string[]): Layout {
  const { width, height } = viewport.value;
  const longest = Math.max(sources.length, targets.length);
  const [least, most, largest] = projector.value ? [25, 46, 26] : [15, 30, 15];
  const gap = Math.max(least, Math.min(most, (0.72 * height) / longest));
  const letters = Math.min(largest, gap - 1);
  const room = (names: string[]) => (Math.min(WIDEST, widest(names)) * letters) / 13 + 16;
  const [before, after] = [room(sources), room(targets)];
  const right = before + Math.max(80, Math.min(260, width - before - after - 40));
  return {
    width: right + after,
    height: longest * gap + 10,
    gap,
    letters,
    left: before,
    right,
    from: (gap * (longest - sources.length)) / 2,
    to: (gap * (longest - targets.length)) / 2,
  };
}

export function Wires(props: {
  roots: Uint8Array;
  /** Printed numbers, where there are some. */
  numbers: Float32Array | null | undefined;
  sources: string[];
  targets: string[];
  t: number;
  j: number;
  choose: (row: number, column: number) => void;
}) {
  const drawing = useRef<SVGSVGElement>(null);
  const { roots, numbers, sources, targets, t, j, choose } = props;
  const layout = layoutOf(sources, targets);
  const { width, height, gap, left, right, from, to } = layout;
  const columns = sources.length;
  const csv = (weights: Float32Array) =>
    csvOf([
      [say("target_out"), say("source"), say("weights")],
      ...Array.from(weights, (p, k) => [targets[Math.floor(k / columns)], sources[k % columns], p]),
    ]);
  return (
    <figure class="wiring">
      <div class="scroll" tabIndex={0} role="region" aria-label={say("wires_picture")}>
        <svg
          ref={drawing}
          class="wires"
          width={width}
          height={height}
          viewBox={`0 0 ${width} ${height}`}
          role="img"
          aria-label={say("view_cross")}
        >
          {Array.from(roots, (root, k) => {
            const share = (root / 255) ** 2;
            const [r, c] = [Math.floor(k / columns), k % columns];
            if (share < LEAST) return null;
            return (
              <line
                key={k}
                x1={left}
                y1={from + (c + 0.5) * gap}
                x2={right}
                y2={to + (r + 0.5) * gap}
                stroke-opacity={share * (r === t || c === j ? 1 : 0.45)}
                class={r === t ? "lit" : ""}
              />
            );
          })}
          <Names of={sources} layout={layout} side="left" chosen={j} onChoose={(c) => choose(t, c)} />
          <Names of={targets} layout={layout} side="right" chosen={t} onChoose={(r) => choose(r, j)} />
        </svg>
      </div>
      <figcaption class="tools">
        <Save
          name={say("view_cross")}
          svg={() => drawing.current && alone(drawing.current)}
          csv={numbers ? () => csv(numbers) : null}
        />
      </figcaption>
    </figure>
  );
}

function Names(props: {
  of: string[];
  layout: Layout;
  side: "left" | "right";
  chosen: number;
  onChoose: (k: number) => void;
}) {
  const { gap, letters, left, right, from, to } = props.layout;
  const source = props.side === "left";
  return (
    <>
      {props.of.map((name, k) => (
        <text
          key={k}
          x={source ? left - 8 : right + 8}
          y={(source ? from : to) + (k + 0.5) * gap + letters / 3}
          font-size={letters}
          text-anchor={source ? "end" : undefined}
          class={k === props.chosen ? "lit" : ""}
          onMouseEnter={() => props.onChoose(k)}
          onClick={() => props.onChoose(k)}
        >
          {isolate(name)}
        </text>
      ))}
    </>
  );
}
