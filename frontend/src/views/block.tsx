// One token through one block.
import { useSignal } from "@preact/signals";
import { begin, model, tokensOf } from "../data";
import { Absent, Formula, Slider } from "../parts";
import { Strip } from "../pictures/strip";
import { TokenRow } from "../pictures/tokens";
import { number, select, stacks } from "../state";
import { useFloats } from "../use";
import { say, show } from "../words";

function Stage(props: { name: string; title: string; at: number }) {
  const values = useFloats(props.name);
  const width = model.value!.config.width;
  if (values === undefined)
    return (
      <tr>
        <th scope="row">{props.title}</th>
        <td>…</td>
      </tr>
    );
  if (values === null)
    return (
      <tr>
        <th scope="row">{props.title}</th>
        <td colSpan={4}>
          <Absent of={null} />
        </td>
      </tr>
    );
  const one = values.subarray(props.at * width, (props.at + 1) * width);
  const mean = one.reduce((a, b) => a + b, 0) / width;
  const deviation = Math.sqrt(one.reduce((a, b) => a + (b - mean) ** 2, 0) / width);
  const norm = Math.sqrt(one.reduce((a, b) => a + b * b, 0));
  return (
    <tr>
      <th scope="row">{props.title}</th>
      <td>
        <Strip values={one} title={props.title} />
      </td>
      <td class="number">{show(mean)}</td>
      <td class="number">{show(deviation)}</td>
      <td class="number">{show(norm)}</td>
    </tr>
  );
}

/** A block of the stack that reads the source. */
export function Block() {
  const config = model.value!.config;
  const [stack] = stacks();
  const [layers, tokens] = [config[`${stack}_layers`], tokensOf(stack)];
  const layer = number("layer", layers);
  const i = number("i", tokens.ids.length);
  const step = useSignal(9);
  const entering = layer
    ? `${stack}.${layer - 1}.feed_forward.${config.norm === "pre" ? "residual" : "norm"}`
    : `${stack}.input`;
  const sublayer = (part: string, title: string): [string, string][] =>
    config.norm === "pre"
      ? [
          [`${part}.norm`, say("norm")],
          [`${part}.output`, title],
          [`${part}.residual`, "+"],
        ]
      : [
          [`${part}.output`, title],
          [`${part}.residual`, "+"],
          [`${part}.norm`, say("norm")],
        ];
  const stages: [string, string][] = [
    [entering, "x"],
    ...[
      ...sublayer("self", say(`mixer_${config[`${stack}_mixer`]}`)),
      ...sublayer("feed_forward", say("feed_forward")),
    ].map(([name, title]): [string, string] => [`${stack}.${layer}.${name}`, title]),
  ];
  return (
    <>
      <Formula name="block" variant={config.norm} />
      <Slider title={say("layer")} value={layer} most={layers - 1} onMove={(at) => select({ layer: at })} />
      <TokenRow
        tokens={tokens}
        begin={begin()}
        chosen={i}
        onChoose={(at) => select({ i: at })}
        title={say(stack === "encoder" ? "source" : "target_in")}
      />
      <Slider
        title={say("steps")}
        value={Math.min(step.value, stages.length)}
        least={1}
        most={stages.length}
        onMove={(at) => {
          step.value = at;
        }}
      />
      <div class="scroll" tabIndex={0} role="region" aria-label={say("view_block", { stack: say(stack) })}>
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
            {stages.slice(0, step.value).map(([name, title]) => (
              <Stage key={name} name={name} title={title} at={i} />
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
