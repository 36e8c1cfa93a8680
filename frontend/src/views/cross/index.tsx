// Cross-attention: who took values from whom.
import { useSignal } from "@preact/signals";
import { atStep, Formulas, heads, isOff, LayerAndHead, stepOf } from "../../attention";
import { model, trace } from "../../data";
import { argmax } from "../../numbers";
import { Absent, Choice, headName, Missing } from "../../parts";
import { Heatmap } from "../../pictures/heatmap";
import { useWords, WordSwitch } from "../../pictures/pieces";
import { given, inColumns, number, select } from "../../state";
import { join, percent, say } from "../../words";
import "./cross.css";
import { type How, useBest, useCross } from "./weights";
import { Wires } from "./wires";

export const Cross = () => (
  <>
    <Alignment />
    <Formulas single cross />
  </>
);

/** Who took values from whom: as wires and as a matrix. */
export function Alignment() {
  const how = useSignal<How>(given("head") || given("layer") ? "head" : "best");
  const { source, replay } = trace.value!;
  const { target_out } = replay;
  const [rows, columns] = [target_out.ids.length, source.ids.length];
  const aligned = useBest(rows, columns);
  const best = how.value === "best" ? aligned : null;
  const { layer, head } = best ?? {
    layer: number("layer", model.value!.config.decoder_layers),
    head: number("head", heads()),
  };
  const name = `decoder.${layer}.cross`;
  const pieces = useCross(layer, head, how.value, rows * columns);
  const { numbers, roots, cell, first, ...names } = useWords(target_out, source, pieces.numbers, pieces.roots);
  const [t, j] = cell(stepOf(rows), number("j", columns));
  const row = numbers?.subarray(t * names.columns.length, (t + 1) * names.columns.length);
  const choose = (row: number, column: number) => {
    const [step, key] = first(row, column);
    select({ ...atStep(step), j: key });
  };
  const off = (how.value === "best" || how.value === "head") && isOff(name, head);
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
            if (value === "head" && how.value === "best") select({ layer, head });
            how.value = value;
          }}
        />
        {how.value !== "best" && <LayerAndHead stack="decoder" />}
        <WordSwitch of={[target_out, source]} />
      </div>
      <p>
        {join([
          ...(best ? [say("best_is", { head: headName(name, head) })] : []),
          ...(row ? [mostOf(row, names.rows[t], names.columns)] : []),
        ])}
      </p>
      {off && <Missing>{say("head_off_here")}</Missing>}
      {roots ? (
        <>
          <div class={`pair ${off ? "off" : ""}`}>
            <Wires {...{ roots, numbers, sources: names.columns, targets: names.rows, t, j, choose }} />
            <Heatmap
              title={`${inColumns() ? "A′" : "P"} · ${say("weights")}`}
              rows={names.rows}
              columns={names.columns}
              numbers={numbers}
              roots={roots}
              turned={inColumns()}
              axes={[say("axis_query"), say("axis_key")]}
              room={0.5}
              chosen={[t, j]}
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

/** What a query takes most from. */
function mostOf(row: Float32Array, target: string, sources: string[]): string {
  const most = argmax(row.length, (k) => row[k]);
  return say("most", { target, source: sources[most], share: percent(row[most]) });
}
