// One token through one block, as the paper draws it.
import { chosenAt, positionIn, StackChoice } from "../../attention";
import { begin, model, tokensOf, trace } from "../../data";
import { lengthOf } from "../../numbers";
import { Absent, Choice, Formula, upTo } from "../../parts";
import { largest } from "../../pictures/canvas";
import { Player, usePlayer } from "../../pictures/player";
import { Strip } from "../../pictures/strip";
import { TokenRow } from "../../pictures/tokens";
import { number, place, select } from "../../state";
import { useFloats } from "../../use";
import { percent, say, show } from "../../words";
import "./block.css";
import { Picture } from "./picture";
import { pieces } from "./pieces";

export function Block() {
  const config = model.value!.config;
  const { stack } = place();
  const [layers, tokens] = [config[`${stack}_layers`], tokensOf(stack)];
  const layer = number("layer", layers);
  const i = positionIn(stack);
  const entering = layer
    ? `${stack}.${layer - 1}.feed_forward.${config.norm === "pre" ? "residual" : "norm"}`
    : `${stack}.input`;
  const drawn = pieces(stack, layer, entering);
  const stages = drawn.flatMap((each): [string, string][] => (each.is === "wire" ? [[each.name, each.title]] : []));
  const player = usePlayer(stages.length);
  const inner = `${stack}.${layer}.feed_forward.inner`;
  return (
    <>
      <div class="chooser">
        <StackChoice value={stack} />
        <Choice title={say("layer")} value={layer} of={upTo(layers)} onChoose={(at) => select({ layer: at })} />
      </div>
      <TokenRow
        tokens={tokens}
        begin={stack === "decoder" ? begin() : 0}
        chosen={i}
        onChoose={(at) => select(chosenAt(stack, at))}
        title={say(stack === "encoder" ? "source" : "target_in")}
      />
      <Formula name="block" variant={config.norm} />
      <p>{say("length_on_wires")}</p>
      <Player of={player} names={stages.map(([, title], k) => `${k + 1} ${title}`)} />
      <div class="pair">
        <Picture stack={stack} layer={layer} of={drawn} at={i} shown={player.at} />
        <div class="aside">
          <Stages of={stages.slice(0, player.at + 1)} at={i} />
          {inner in trace.value!.shapes && <Inner name={inner} at={i} width={trace.value!.shapes[inner].at(-1)!} />}
        </div>
      </div>
    </>
  );
}

/** The vectors of a token on the wires: their canonical names and titles. */
const Stages = (props: { of: [string, string][]; at: number }) => (
  <div class="scroll" tabIndex={0} role="region" aria-label={say("view_block")}>
    <table class="stages">
      <thead>
        <tr>
          <td />
          <th scope="col">{say("vector")}</th>
          <th scope="col">{say("mean")}</th>
          <th scope="col">{say("deviation")}</th>
          <th scope="col">{say("length")}</th>
        </tr>
      </thead>
      <tbody>
        {props.of.map(([name, title]) => (
          <Stage key={name} name={name} title={title} at={props.at} />
        ))}
      </tbody>
    </table>
  </div>
);

/** A vector of the token, and its statistics. */
function Stage(props: { name: string; title: string; at: number }) {
  const values = useFloats(props.name);
  const { width } = model.value!.config;
  return (
    <tr>
      <th scope="row">{props.title}</th>
      {values ? (
        <Statistics values={values.subarray(props.at * width, (props.at + 1) * width)} title={props.title} />
      ) : values === null ? (
        <td colSpan={4}>
          <Absent of={null} />
        </td>
      ) : (
        <td>…</td>
      )}
    </tr>
  );
}

function Statistics({ values, title }: { values: Float32Array; title: string }) {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  return (
    <>
      <td>
        <Strip values={values} title={title} />
      </td>
      <td class="number">{show(mean, 2)}</td>
      <td class="number">{show(deviation, 2)}</td>
      <td class="number">{show(lengthOf(values), 2)}</td>
    </>
  );
}

/** What the feed-forward network holds between its two matrices. */
function Inner(props: { name: string; at: number; width: number }) {
  const all = useFloats(props.name);
  if (!all) return <Absent of={all} title={props.name} />;
  const values = all.subarray(props.at * props.width, (props.at + 1) * props.width);
  const active = values.reduce((sum, value) => sum + (value > 0 ? 1 : 0), 0) / values.length;
  return (
    <>
      <p>{say("inner_values", { n: values.length, share: percent(active), most: show(largest(values), 2) })}</p>
      <p>
        <Strip values={values} title={props.name} />
      </p>
    </>
  );
}
