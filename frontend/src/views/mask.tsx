// The causal mask and the padding mask.
import { beginnings, chosenAt, positionIn, heads, isThere, LayerAndHead, useScores } from "../attention";
import { hasMask, model, trace } from "../data";
import { Absent, Ask, Formula, Missing } from "../parts";
import { viewport } from "../pictures/canvas";
import { Heatmap } from "../pictures/heatmap";
import { labels } from "../pictures/tokens";
import { hasCross, inColumns, number, select } from "../state";
import { useFloats, useMatrix, useRoots } from "../use";
import { join, say } from "../words";
import "./mask.css";

/** The present sentence in a batch with a shorter one. */
function Padding() {
  const names = labels(trace.value!.source);
  const half = Math.ceil(names.length / 2);
  const shorter = [...names.slice(0, half - 1), names.at(-1), ...Array(names.length - half).fill(null)];
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={say("padding")}>
      <table class="batch">
        <tbody>
          {[names, shorter].map((row, k) => (
            <tr key={k}>
              {row.map((name, at) => (
                <td key={at} class={name === null ? "pad" : ""}>
                  {name ?? (
                    <>
                      PAD<small>−∞</small>
                    </>
                  )}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Mask() {
  const layer = number("layer", model.value!.config.decoder_layers);
  const head = number("head", heads());
  const name = `decoder.${layer}.self`;
  const now = trace.value!;
  const names = labels(now.replay.decoder_in);
  const n = names.length;
  const alpha = useScores(name, head, n, n);
  const weights = useMatrix(useFloats(`${name}.weights`), head, n * n);
  const roots = useMatrix(useRoots(`${name}.weights`), head, n * n);
  const lifted = now.what_if.mask_lifted;
  const [score, share] = inColumns() ? ["α", "α′"] : ["S", "P"];
  const drawn = {
    rows: names,
    columns: names,
    turned: inColumns(),
    room: viewport.value.width > 760 ? 0.5 : 1, // side by side
    axes: [say("axis_query"), say("axis_key")] as const,
    begin: beginnings("decoder"),
    chosen: [positionIn("decoder"), number("j", n)] as [number, number],
    onChoose: (i: number, j: number) => select({ ...chosenAt("decoder", i), j }),
  };
  if (!isThere(name)) return <Missing>{say("no_attention")}</Missing>;
  return (
    <>
      <div class="dials">
        <div class="chooser">
          <LayerAndHead stack="decoder" />
        </div>
        {hasMask() && <Ask change={{ mask_lifted: !lifted }}>{say(lifted ? "mask_back" : "mask_lift")}</Ask>}
        {hasMask() && !lifted && <Formula name="mask" variant={inColumns() ? "columns" : "rows"} />}
      </div>
      <div class="pair">
        {alpha ? (
          <Heatmap title={`${score} · ${say("scores")}`} numbers={alpha} signed {...drawn} />
        ) : (
          <Absent of={alpha} title={score} />
        )}
        {(weights || roots) && (
          <Heatmap title={`${share} · ${say("weights")}`} numbers={weights} roots={roots} {...drawn} />
        )}
      </div>
      {hasCross() && (
        <>
          <p>{join([say("padding_mask"), say("padding")])}</p>
          <Padding />
        </>
      )}
    </>
  );
}
