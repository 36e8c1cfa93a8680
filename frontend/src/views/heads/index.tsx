// All heads at one glance, what each does, one of them enlarged, and what W_o makes of them.
import { heads, headWidth, isOff, isThere, selected, stepOf } from "../../attention";
import { asked, model, source, trace, writes } from "../../data";
import { Absent, Formula, Missing } from "../../parts";
import { largest, viewport } from "../../pictures/canvas";
import { HeadMap } from "../../pictures/headmap";
import { common, Legend } from "../../pictures/legend";
import { Strip } from "../../pictures/strip";
import { pooling } from "../../pictures/thumbnail";
import { labels } from "../../pictures/tokens";
import { inColumns } from "../../state";
import { useAnswer, useFloats } from "../../use";
import { ordinal, say } from "../../words";
import { Enlarged } from "./enlarged";
import "./heads.css";
import { Multiples } from "./multiples";

/** With more tokens the large picture has no room beside the small ones. */
const SHORT = 24;

export function Heads() {
  const { name, asks, answers } = selected();
  const [rows, columns] = [asks.ids.length, answers.ids.length];
  const by = pooling(rows, columns);
  // Beside the small pictures, a click shows at once what it opens.
  const beside = viewport.value.width <= 760 || Math.max(rows, columns) <= SHORT;
  return (
    <>
      {by > 1 && <Missing>{say("pooled", { by })}</Missing>}
      <div class="pair">
        <Multiples />
        {beside ? <Enlarged beside /> : <Ablation />}
      </div>
      {!beside && <Enlarged beside={false} />}
      <div class="pair">
        {isThere(name) && (
          <div>
            <Formula name={inColumns() ? "heads.columns" : "heads.rows"} />
            <Together name={name} />
          </div>
        )}
        {beside && <Ablation />}
      </div>
    </>
  );
}

/** What the heads give, side by side, and what W_o makes of it. */
function Together(props: { name: string }) {
  const { asks, i } = selected();
  const context = useFloats(`${props.name}.context`);
  const output = useFloats(`${props.name}.output`);
  const [width, whole] = [headWidth(), model.value!.config.width];
  const title = say("together", { token: labels(asks)[i] });
  if (!context || !output) return <Absent of={context && (output as null | undefined)} title={title} />;
  const given = Array.from({ length: heads() }, (_, head) => {
    const at = (head * asks.ids.length + i) * width;
    return context.subarray(at, at + width);
  });
  const most = common.value ? largest(...given) : undefined;
  return (
    <section>
      <h3>{title}</h3>
      {given.map((values, head) => (
        <p class={`vector ${isOff(props.name, head) ? "off" : ""}`} key={head}>
          <b>
            {say("head")} {head}
          </b>{" "}
          <Strip values={values} title={`${say("head")} ${head}`} most={most} />
          {isOff(props.name, head) && <small> {say("head_off_here")}</small>}
        </p>
      ))}
      <p class="vector">
        <b>· Wᵒ =</b> <Strip values={output.subarray(i * whole, (i + 1) * whole)} title="Wᵒ" />
      </p>
      <Legend most={most} grouped />
    </section>
  );
}

/** What every head does for the token of the chosen step. */
function Ablation() {
  const { target_out } = trace.value!.replay;
  const t = stepOf(target_out.ids.length);
  const effects = useAnswer(source.heads, asked.value, t);
  if (effects === null) return null; // this page cannot tell
  const title = say(writes() ? "ablation" : "ablation_label", { token: labels(target_out)[t], step: ordinal(t) });
  return effects ? <HeadMap effects={effects} title={title} /> : <Missing>{title}: …</Missing>;
}
