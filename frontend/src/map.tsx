// The model beside the views: what it is, and its parts, each of which leads to the view that shows it.
import { model, positionsOf, trace, writes } from "./data";
import { type Stack, hasCross, place, select, selection, stacks } from "./state";
import { grouped, join, lacking, say } from "./words";
import "./map.css";

function facts(): string[] {
  const { parameters, config } = model.value!;
  return [
    say("parameters", { n: grouped(parameters) }),
    `${say(`norm_${config.norm}`)} (${say(`norm_${config.norm_kind}`)})`,
    trace.value?.what_if.positions_off
      ? say("positions_are_off")
      : say("positions_are", { how: say(`positions_${positionsOf(config)}`) }),
    ...(writes() ? [say("tied", { how: say(`tie_${tie()}`) })] : []),
  ];
}

/** Which matrices over a vocabulary are one: without an encoder, there is one embedding. */
function tie() {
  const { tie } = model.value!.config;
  if (hasCross()) return tie;
  return tie === "output" || tie === "all" ? "all" : "none";
}

/** The model, drawn from its own configuration: each part leads to the view that shows it. */
export function ModelMap() {
  const { name, config } = model.value!;
  const at = place();
  const part = (stack: Stack, layer: number, kind: string, view: string, title: string) => (
    <button
      type="button"
      aria-current={
        selection.value.view === view && at.stack === stack && at.layer === layer && at.kind === kind
          ? "true"
          : undefined
      }
      onClick={() => select({ stack, layer, kind, view })}
    >
      {title}
    </button>
  );
  const mixer = (stack: Stack) => {
    const kind = config[`${stack}_mixer`];
    return say(kind !== "attention" ? `mixer_${kind}` : stack === "decoder" ? "masked_self" : "self");
  };
  const stack = (stack: Stack) => (
    <section key={stack}>
      <h3>{say(stack)}</h3>
      {Array.from({ length: config[`${stack}_layers`] }, (_, k) => config[`${stack}_layers`] - 1 - k).map((layer) => (
        <div class="block" key={layer}>
          <small>{layer}</small>
          {part(stack, layer, "self", "block", say("feed_forward"))}
          {stack === "decoder" && hasCross() && part(stack, layer, "cross", "cross", say("cross"))}
          {part(stack, layer, "self", "heads", mixer(stack))}
        </div>
      ))}
    </section>
  );
  return (
    <nav class="map" aria-label={say("map")}>
      <Shape />
      <p>
        <b>{name}</b>
        {facts().map((fact) => (
          <span key={fact}>
            <br />
            {fact}
          </span>
        ))}
      </p>
      {[...stacks()].reverse().map(stack)}
    </nav>
  );
}

/** Which of the three shapes it is, and what was taken away from it. */
function Shape() {
  const { shape, without } = model.value!.config;
  return (
    <p class="shape">
      {join([say(`shape_${shape}`), ""])}
      {without.length > 0 && <b>{say("without", { parts: lacking(without) })}</b>}
    </p>
  );
}

/** The same in a line, where the picture itself is the map. */
export const Facts = () => (
  <div class="facts">
    <Shape />
    <p>
      <b>{model.value!.name}</b>
      {facts().map((fact) => ` · ${fact}`)}
    </p>
  </div>
);
