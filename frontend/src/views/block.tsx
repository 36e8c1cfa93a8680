// One token through one block, as the paper draws it.
import { useRef } from "preact/hooks";
import { chosenAt, positionIn, StackChoice } from "../attention";
import { begin, model, tokensOf, trace } from "../data";
import { Absent, Choice, Formula, upTo } from "../parts";
import { projector } from "../keys";
import { largest } from "../pictures/canvas";
import { common, Legend } from "../pictures/legend";
import { Player, usePlayer } from "../pictures/player";
import { useRoom } from "../pictures/room";
import { alone, csvOf, Save } from "../pictures/save";
import { Strip } from "../pictures/strip";
import { TokenRow } from "../pictures/tokens";
import { row } from "../pictures/vector";
import { hasCross, number, place, select, type Stack } from "../state";
import { useAll, useFloats } from "../use";
import { brief, percent, say, show } from "../words";
import "./block.css";

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
      <td class="number">{show(mean, 2)}</td>
      <td class="number">{show(deviation, 2)}</td>
      <td class="number">{show(norm, 2)}</td>
    </tr>
  );
}

type Kind = "self" | "cross" | "feed_forward";

/** A value on a wire, a box that makes the next one, or the place where the residual is added. */
type Piece =
  | { is: "wire"; name: string; title: string }
  | { is: "box"; kind: Kind | "norm"; title: string; of: Kind }
  | { is: "plus"; from: number };

/** The picture's left edge and width: on a telephone, what stands on the wires is seen without scrolling. */
const LEFT = 50;
const WIDE = 570;
const HIGH = { wire: 40, box: 46, plus: 34 };

/** The block from its input upwards. */
function pieces(stack: Stack, layer: number, entering: string): Piece[] {
  const { norm, norm_kind, [`${stack}_mixer` as const]: mixer } = model.value!.config;
  const normed: Piece = { is: "box", kind: "norm", title: say(`norm_${norm_kind}`), of: "self" };
  const kinds: Kind[] =
    stack === "decoder" && hasCross() ? ["self", "cross", "feed_forward"] : ["self", "feed_forward"];
  const found: Piece[] = [{ is: "wire", name: entering, title: "x" }];
  for (const kind of kinds) {
    const at = (part: string) => `${stack}.${layer}.${kind}.${part}`;
    const title =
      kind === "self"
        ? say(mixer !== "attention" ? `mixer_${mixer}` : stack === "decoder" ? "masked_self" : "self")
        : say(kind);
    const from = found.length - 1;
    if (norm === "pre") {
      found.push({ ...normed, of: kind });
      found.push({ is: "wire", name: at("norm"), title: say("norm") });
    }
    found.push({ is: "box", kind, title, of: kind });
    found.push({ is: "wire", name: at("output"), title });
    found.push({ is: "plus", from });
    found.push({ is: "wire", name: at("residual"), title: "+" });
    if (norm === "post") {
      found.push({ ...normed, of: kind });
      found.push({ is: "wire", name: at("norm"), title: say("norm") });
    }
  }
  return found;
}

const lengthOf = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

/** The block as the paper draws it, with the vectors of one token on its wires. */
function Picture(props: { stack: Stack; layer: number; of: Piece[]; at: number; shown: number }) {
  const drawing = useRef<SVGSVGElement>(null);
  const { width } = model.value!.config;
  const wires = props.of.flatMap((each) => (each.is === "wire" ? [each.name] : []));
  const all = useAll(wires);
  const vector = (name: string) => {
    const values = all?.[wires.indexOf(name)];
    return values ? values.subarray(props.at * width, (props.at + 1) * width) : null;
  };
  const total = props.of.reduce((sum, each) => sum + HIGH[each.is], 0) + 20;
  const [box, room] = useRoom(projector.value, trace.value, props.stack);
  // On a projector letters are 24 pixels high, and all that stands beside them is as much further away.
  const scale = projector.value && room ? Math.max(0.85, Math.min((room.height - 3 * room.em) / total, 2)) : 1;
  const letters = projector.value ? Math.max(14, 24 / scale) : 14;
  const x = (place: number) => (place * letters) / 14;
  let height = total - 10;
  const tops = props.of.map((each) => (height -= HIGH[each.is]));
  const most = common.value ? largest(...wires.map(vector)) : undefined;
  const open = (kind: Kind | "norm") => {
    if (kind === "self" || kind === "cross")
      select({ view: kind === "cross" ? "cross" : "heads", stack: props.stack, layer: props.layer, kind });
  };
  // Steps count wires: a box and a plus belong to the wire that they make.
  let wire = 0;
  const stepOfPiece = props.of.map((each) => (each.is === "wire" ? wire++ : wire));
  return (
    <figure>
      <div
        ref={box}
        class="scroll"
        tabIndex={0}
        role="region"
        aria-label={say("block_of", { stack: say(props.stack) })}
      >
        <svg
          ref={drawing}
          class="block-picture"
          width={x(WIDE) * scale}
          viewBox={`${x(LEFT)} 0 ${x(WIDE)} ${total}`}
          font-size={letters}
          role="group"
        >
          {props.of.map((each, k) => {
            const [y, later] = [
              tops[k],
              stepOfPiece[k] > props.shown ? "later" : stepOfPiece[k] === props.shown ? "now" : "",
            ];
            const high = HIGH[each.is];
            if (each.is === "wire") {
              const values = vector(each.name);
              return (
                <g key={k} class={later}>
                  <line x1={x(200)} x2={x(200)} y1={y + high} y2={y} />
                  {values && (
                    <>
                      <image
                        class="on-wire"
                        href={row(
                          values,
                          most ?? largest(values),
                          `${each.name} ${props.at} ${trace.value!.id} ${trace.value!.text}`,
                        )}
                        x={x(120)}
                        y={y + high / 2 - 7}
                        width={x(160)}
                        height="14"
                        preserveAspectRatio="none"
                      >
                        <title>{each.name}</title>
                      </image>
                      <text x={x(296)} y={y + high / 2 + letters / 3}>
                        ‖{each.title === "x" ? "x" : "·"}‖ = {show(lengthOf(values), 2)}
                      </text>
                    </>
                  )}
                </g>
              );
            }
            if (each.is === "plus") {
              const from = tops[each.from] + HIGH.wire - 4;
              return (
                <g key={k} class={later}>
                  <path class="around" d={`M${x(200)},${from} H${x(60)} V${y + high / 2} H${x(200) - 12}`} />
                  <circle cx={x(200)} cy={y + high / 2} r="12" />
                  <text x={x(200)} y={y + high / 2 + letters / 3} text-anchor="middle">
                    +
                  </text>
                  <line x1={x(200)} x2={x(200)} y1={y} y2={y + high / 2 - 12} />
                  <line x1={x(200)} x2={x(200)} y1={y + high} y2={y + high / 2 + 12} />
                </g>
              );
            }
            const before = props.of[k - 1],
              after = props.of[k + 1];
            const lengths = [before, after].map((one) => (one.is === "wire" ? vector(one.name) : null));
            const opens = each.kind === "self" || each.kind === "cross";
            return (
              <g
                key={k}
                class={`${later} unit ${each.kind} ${opens ? "opens" : ""}`}
                role={opens ? "button" : undefined}
                tabIndex={opens ? 0 : undefined}
                onClick={() => open(each.kind)}
                onKeyDown={(event) => event.key === "Enter" && open(each.kind)}
              >
                <rect x={x(100)} y={y + 3} width={x(200)} height={high - 6} rx="6" />
                <text x={x(200)} y={y + high / 2 + letters / 3} text-anchor="middle">
                  {each.title}
                </text>
                {each.kind === "norm" && lengths[0] && lengths[1] && (
                  <text class="small" x={x(314)} y={y + high / 2 + letters / 3}>
                    {brief(lengthOf(lengths[0]))} → {brief(lengthOf(lengths[1]))}
                  </text>
                )}
                {each.kind === "cross" && (
                  <>
                    <path class="around" d={`M${x(560)},${y + high / 2} H${x(300)}`} />
                    <text class="small" x={x(420)} y={y + high / 2 - 5}>
                      {say("encoder")}: K, V
                    </text>
                  </>
                )}
              </g>
            );
          })}
        </svg>
      </div>
      <figcaption class="tools">
        <Legend most={most} grouped />
        <Save
          name={say("block_of", { stack: say(props.stack) })}
          svg={() => drawing.current && alone(drawing.current)}
          csv={
            all && !all.includes(null)
              ? () =>
                  csvOf([
                    ["", say("length"), ...Array.from({ length: width }, (_, c) => String(c))],
                    ...wires.map((name) => [name, lengthOf(vector(name)!), ...vector(name)!]),
                  ])
              : null
          }
        />
      </figcaption>
    </figure>
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
                {stages.slice(0, player.at + 1).map(([name, title]) => (
                  <Stage key={name} name={name} title={title} at={i} />
                ))}
              </tbody>
            </table>
          </div>
          {inner in trace.value!.shapes && <Inner name={inner} at={i} width={trace.value!.shapes[inner].at(-1)!} />}
        </div>
      </div>
    </>
  );
}
