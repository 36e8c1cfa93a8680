// Positions as a bias on the scores of attention: a row for each query, and a column for each key.
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { chosenAt } from "../../attention";
import { begin, model, trace } from "../../data";
import { slope } from "../../model/network/positions";
import { Absent, Choice, Formula, Missing, upTo } from "../../parts";
import { Heatmap } from "../../pictures/heatmap";
import { inColumns, number, select, stacks } from "../../state";
import { useFloats, useMatrix } from "../../use";
import { say, show } from "../../words";
import type { DrawingProps } from "./drawing";

/** ALiBi: −m |i − j|, where m is the slope of the head. */
export function Alibi(props: DrawingProps) {
  const { names } = props;
  const { heads } = model.value!.config;
  const m = slope(number("head", heads), heads);
  const bias = useMemo(
    () => names.flatMap((_, query) => names.map((_, key) => -m * Math.abs(query - key))),
    [names, m],
  );
  return (
    <>
      <Formula name="bias" />
      <p>{say("alibi")}</p>
      <Bias {...props} title={say("bias")} numbers={bias}>
        m = {show(m, 4)}
      </Bias>
    </>
  );
}

/** The number learned for each distance, of the first layer's scores: all layers have the same. */
export function Relative(props: DrawingProps) {
  const { names } = props;
  const name = `${stacks()[0]}.0.self.bias`;
  const all = useFloats(props.own && name in trace.value!.shapes ? name : null);
  const bias = useMatrix(all, number("head", model.value!.config.heads), names.length ** 2);
  if (!props.own) return <Missing>{say("relative_elsewhere")}</Missing>;
  return (
    <>
      <Formula name="relative" />
      <p>{say("relative")}</p>
      {!(name in trace.value!.shapes) ? (
        <Missing>{say("no_attention")}</Missing>
      ) : !bias ? (
        <Absent of={bias} title="r" />
      ) : (
        <Bias {...props} title={say("relative_bias")} numbers={bias} />
      )}
    </>
  );
}

/** The bias of one head. */
function Bias(props: DrawingProps & { title: string; numbers: ArrayLike<number>; children?: ComponentChildren }) {
  const { names, i } = props;
  const { heads } = model.value!.config;
  return (
    <>
      <Choice
        title={say("head")}
        value={number("head", heads)}
        of={upTo(heads)}
        onChoose={(head) => select({ head })}
      />{" "}
      {props.children}
      <Heatmap
        title={props.title}
        rows={names}
        columns={names}
        numbers={props.numbers}
        signed
        turned={inColumns()}
        begin={[begin(), begin()]}
        chosen={[i, number("j", names.length)]}
        onChoose={(row, j) => select({ ...chosenAt(stacks()[0], row), j })}
      />
    </>
  );
}
