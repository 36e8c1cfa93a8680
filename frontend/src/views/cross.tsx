// Cross-attention: who took values from whom.
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { Formulas, heads, LayerAndHead } from "../attention";
import { mean, model, trace } from "../data";
import { Absent, Choice } from "../parts";
import { Heatmap } from "../pictures/heatmap";
import { labels } from "../pictures/tokens";
import { inColumns, number, select } from "../state";
import { useFloats, useRoots } from "../use";
import { isolate, percent, say } from "../words";

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

/** Who took values from whom: as wires and as a matrix. */
export function Alignment() {
  const how = useSignal("head");
  const layer = number("layer", model.value!.config.decoder_layers);
  const head = number("head", heads());
  const now = trace.value!;
  const targets = labels(now.replay.target_out),
    sources = labels(now.source);
  const [rows, columns] = [targets.length, sources.length];
  const t = number("i", rows),
    j = number("j", columns);
  const { numbers, roots } = useCross(layer, head, how.value, rows * columns);
  const gap = 26;
  const most = numbers
    ? numbers
        .subarray(t * columns, (t + 1) * columns)
        .reduce((best, value, k, all) => (value > all[best] ? k : best), 0)
    : 0;
  return (
    <>
      <div class="chooser">
        <LayerAndHead stack="decoder" />
        <Choice
          title={say("heads_together")}
          value={how.value}
          of={[
            ["head", say("one_head")],
            ["mean", say("mean")],
            ["max", say("max")],
          ]}
          onChoose={(value) => {
            how.value = value;
          }}
        />
      </div>
      {roots ? (
        <>
          <div class="scroll tall" tabIndex={0} role="region" aria-label={say("view_cross")}>
            <svg
              class="wires"
              viewBox={`0 0 460 ${Math.max(rows, columns) * gap + 10}`}
              role="img"
              aria-label={say("view_cross")}
            >
              {Array.from(roots, (root, k) => {
                const share = (root / 255) ** 2,
                  [r, c] = [Math.floor(k / columns), k % columns];
                return share < 0.03 ? null : (
                  <line
                    key={k}
                    x1="150"
                    y1={c * gap + 16}
                    x2="310"
                    y2={r * gap + 16}
                    stroke-opacity={share * (r === t || c === j ? 1 : 0.45)}
                    class={r === t ? "lit" : ""}
                  />
                );
              })}
              {sources.map((name, c) => (
                <text
                  key={`s${c}`}
                  x="142"
                  y={c * gap + 20}
                  text-anchor="end"
                  class={c === j ? "lit" : ""}
                  onMouseEnter={() => select({ j: c })}
                >
                  {isolate(name)}
                </text>
              ))}
              {targets.map((name, r) => (
                <text
                  key={`t${r}`}
                  x="318"
                  y={r * gap + 20}
                  class={r === t ? "lit" : ""}
                  onMouseEnter={() => select({ i: r })}
                >
                  {isolate(name)}
                </text>
              ))}
            </svg>
          </div>
          <Heatmap
            title={`${inColumns() ? "A′" : "P"} · ${say("weights")}`}
            rows={targets}
            columns={sources}
            numbers={numbers}
            roots={roots}
            turned={inColumns()}
            chosen={[t, j]}
            onChoose={(i, column) => select({ i, j: column })}
          />
          <p>{say("cross_names")}</p>
        </>
      ) : (
        <Absent of={roots} />
      )}
      {numbers && (
        <p>{say("most", { target: targets[t], source: sources[most], share: percent(numbers[t * columns + most]) })}</p>
      )}
    </>
  );
}

export const Cross = () => (
  <>
    <Formulas single cross />
    <Alignment />
  </>
);
