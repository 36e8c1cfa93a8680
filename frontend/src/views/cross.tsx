// Cross-attention: who took values from whom.
import { useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { atStep, Formulas, heads, isOff, LayerAndHead, stepOf } from "../attention";
import { model, trace } from "../data";
import { projector } from "../keys";
import { mean } from "../numbers";
import { Absent, Choice, headName, Missing } from "../parts";
import { viewport, widest } from "../pictures/canvas";
import { Heatmap } from "../pictures/heatmap";
import { measure } from "../pictures/patterns";
import { useWords, WordSwitch } from "../pictures/pieces";
import { alone, csvOf, Save } from "../pictures/save";
import { given, inColumns, number, select } from "../state";
import { useAllRoots, useFloats, useRoots } from "../use";
import { isolate, join, percent, say } from "../words";
import "./cross.css";

/** The cross-attention of a layer: one head, or all of them together. */
function useCross(layer: number, head: number, how: string, size: number) {
  const weights = useFloats(`decoder.${layer}.cross.weights`);
  const roots = useRoots(`decoder.${layer}.cross.weights`);
  return useMemo(() => {
    const joined = (share: (k: number) => number) =>
      Float32Array.from({ length: size }, (_, k) => {
        if (how === "head") return share(head * size + k);
        const shares = Array.from({ length: heads() }, (_, h) => share(h * size + k));
        return how === "max" ? Math.max(...shares) : mean(shares);
      });
    const numbers = weights && joined((k) => weights[k]);
    // Of bytes only a picture is made, and never a number.
    const shares = numbers ?? (roots && joined((k) => (roots[k] / 255) ** 2));
    return { numbers, roots: shares && Uint8Array.from(shares, (p) => Math.round(255 * Math.sqrt(p))) };
  }, [weights, roots, how, head, size]);
}

/** The head of all cross-attentions whose weights are sharpest and least alike: where an alignment is best seen. */
function useBest(rows: number, columns: number) {
  const layers = model.value!.config.decoder_layers;
  const names = Array.from({ length: layers }, (_, layer) => `decoder.${layer}.cross.weights`);
  const all = useAllRoots(names);
  return useMemo(() => {
    let best: { layer: number; head: number; score: number } | null = null;
    all?.forEach((roots, layer) => {
      for (let head = 0; roots && head < heads(); head++) {
        const { sharpness, answering } = measure(
          roots.subarray(head * rows * columns, (head + 1) * rows * columns),
          rows,
          columns,
          true,
        );
        const score = sharpness * answering;
        if (!best || score > best.score) best = { layer, head, score };
      }
    });
    return best as { layer: number; head: number; score: number } | null;
  }, [all, rows, columns]);
}

/** Wires from source to target; the names stand as far apart as the window allows, so that all are seen at once. */
function Wires(props: {
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
  const { roots, numbers, sources, targets, t, j } = props;
  const [rows, columns] = [targets.length, sources.length];
  const longest = Math.max(rows, columns);
  const [widestGap, letters] = projector.value ? [46, 26] : [30, 15];
  const gap = Math.max(projector.value ? 25 : 15, Math.min(widestGap, (0.72 * viewport.value.height) / longest));
  const size = Math.min(letters, gap - 1);
  const high = longest * gap + 10;
  const [from, to] = [(gap * (longest - columns)) / 2, (gap * (longest - rows)) / 2];
  const room = (names: string[]) => (Math.min(220, widest(names)) * size) / 13 + 16;
  const left = room(sources);
  const right = room(targets);
  const across = left + Math.max(80, Math.min(260, viewport.value.width - left - right - 40));
  const wide = across + right;
  return (
    <figure class="wiring">
      <div class="scroll" tabIndex={0} role="region" aria-label={say("wires_picture")}>
        <svg
          ref={drawing}
          class="wires"
          width={wide}
          height={high}
          viewBox={`0 0 ${wide} ${high}`}
          role="img"
          aria-label={say("view_cross")}
        >
          {Array.from(roots, (root, k) => {
            const share = (root / 255) ** 2,
              [r, c] = [Math.floor(k / columns), k % columns];
            if (share < 0.03) return null;
            return (
              <line
                key={k}
                x1={left}
                y1={from + (c + 0.5) * gap}
                x2={across}
                y2={to + (r + 0.5) * gap}
                stroke-opacity={share * (r === t || c === j ? 1 : 0.45)}
                class={r === t ? "lit" : ""}
              />
            );
          })}
          {sources.map((name, c) => (
            <text
              key={`s${c}`}
              x={left - 8}
              y={from + (c + 0.5) * gap + size / 3}
              font-size={size}
              text-anchor="end"
              class={c === j ? "lit" : ""}
              onMouseEnter={() => props.choose(t, c)}
              onClick={() => props.choose(t, c)}
            >
              {isolate(name)}
            </text>
          ))}
          {targets.map((name, r) => (
            <text
              key={`t${r}`}
              x={across + 8}
              y={to + (r + 0.5) * gap + size / 3}
              font-size={size}
              class={r === t ? "lit" : ""}
              onMouseEnter={() => props.choose(r, j)}
              onClick={() => props.choose(r, j)}
            >
              {isolate(name)}
            </text>
          ))}
        </svg>
      </div>
      <figcaption class="tools">
        <Save
          name={say("view_cross")}
          svg={() => drawing.current && alone(drawing.current)}
          csv={
            numbers
              ? () =>
                  csvOf([
                    [say("target_out"), say("source"), say("weights")],
                    ...Array.from(numbers, (p, k) => [targets[Math.floor(k / columns)], sources[k % columns], p]),
                  ])
              : null
          }
        />
      </figcaption>
    </figure>
  );
}

/** Who took values from whom: as wires and as a matrix. */
export function Alignment() {
  const how = useSignal<"best" | "head" | "mean" | "max">(given("head") || given("layer") ? "head" : "best");
  const now = trace.value!;
  const { target_out } = now.replay;
  const [rows, columns] = [target_out.ids.length, now.source.ids.length];
  const best = useBest(rows, columns);
  const isBest = how.value === "best";
  const layer = isBest && best ? best.layer : number("layer", model.value!.config.decoder_layers);
  const head = isBest && best ? best.head : number("head", heads());
  const t = stepOf(rows),
    j = number("j", columns);
  const one = isBest ? "head" : how.value;
  const pieces = useCross(layer, head, one, rows * columns);
  const { numbers, roots, cell, first, ...names } = useWords(target_out, now.source, pieces.numbers, pieces.roots);
  const [r, c] = cell(t, j);
  const row = numbers?.subarray(r * names.columns.length, (r + 1) * names.columns.length);
  const most = row?.reduce((best, value, k, all) => (value > all[best] ? k : best), 0) ?? 0;
  const choose = (row: number, column: number) => {
    const [step, key] = first(row, column);
    select({ ...atStep(step), j: key });
  };
  const name = `decoder.${layer}.cross`;
  const off = one === "head" && isOff(name, head);
  return (
    <>
      <div class="chooser">
        <Choice
          title={say("heads_together")}
          value={how.value}
          of={[
            ["best", say("best_head")],
            ["head", say("one_head")],
            ["mean", say("mean")],
            ["max", say("max")],
          ]}
          onChoose={(value) => {
            if (value === "head" && isBest) select({ layer, head });
            how.value = value as "best";
          }}
        />
        {!isBest && <LayerAndHead stack="decoder" />}
        <WordSwitch of={[target_out, now.source]} />
      </div>
      <p>
        {join([
          ...(isBest && best ? [say("best_is", { head: headName(name, head) })] : []),
          ...(row
            ? [say("most", { target: names.rows[r], source: names.columns[most], share: percent(row[most]) })]
            : []),
        ])}
      </p>
      {off && <Missing>{say("head_off_here")}</Missing>}
      {roots ? (
        <>
          <div class={`pair ${off ? "off" : ""}`}>
            <Wires {...{ roots, numbers, sources: names.columns, targets: names.rows, t: r, j: c, choose }} />
            <Heatmap
              title={`${inColumns() ? "A′" : "P"} · ${say("weights")}`}
              rows={names.rows}
              columns={names.columns}
              numbers={numbers}
              roots={roots}
              turned={inColumns()}
              axes={[say("axis_query"), say("axis_key")]}
              room={0.5}
              chosen={[r, c]}
              onChoose={choose}
            />
          </div>
          <p>{say("cross_names")}</p>
        </>
      ) : (
        <Absent of={roots} />
      )}
    </>
  );
}

export const Cross = () => (
  <>
    <Alignment />
    <Formulas single cross />
  </>
);
