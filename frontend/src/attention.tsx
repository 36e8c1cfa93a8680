// The attention that is selected, and what its views have in common.
import { useMemo } from "preact/hooks";
import { begin, hasMask, model, positionsOf, tokensOf, trace, writes } from "./data";
import { attentionName, Choice, Formula, Missing, upTo } from "./parts";
import { type Change, hasCross, inColumns, number, place, select, type Stack, stacks } from "./state";
import { useFloats, useMatrix } from "./use";
import { join, say } from "./words";

/** The attention that is selected, who asks and who answers in it, and which of them. */
export function selected() {
  const at = place();
  const cross = at.kind === "cross";
  const asks = tokensOf(at.stack);
  const answers = cross ? trace.value!.source : asks;
  const begins = beginnings(at.stack);
  return {
    ...at,
    cross,
    asks,
    answers,
    begins,
    head: number("head", heads()),
    i: positionIn(at.stack),
    j: number("j", answers.ids.length),
  };
}

/** The position of a stack that is chosen. A target's one is the step `t`, in every view. */
export function positionIn(stack: Stack): number {
  const { length } = tokensOf(stack).ids;
  return stack === "decoder" && hasCross() ? number("t", length) : number("i", length);
}

/** What is selected with a position of a stack. In one sequence of source and target the step goes along. */
export function chosenAt(stack: Stack, position: number): Change {
  if (stack === "encoder") return { i: position };
  return hasCross() ? { t: position } : { i: position, t: Math.max(0, position - begin()) };
}

/** The step of decoding that is chosen, and what is selected with another one. */
export const stepOf = (steps: number) => number("t", steps);
export const atStep = (t: number): Change => (writes() ? chosenAt("decoder", begin() + t) : { t });

/** Where BOS stands among queries and keys; 0, where they are of one side only. */
export const beginnings = (stack: Stack): [number, number] => (stack === "decoder" ? [begin(), begin()] : [0, 0]);

export const heads = () => model.value!.config.heads;

export const headWidth = () => model.value!.config.head_width;

/** Several queries' heads may share one head of keys and values. */
export const groupOf = (head: number) => Math.floor((head * model.value!.config.key_value_heads) / heads());

export const isThere = (name: string) => `${name}.weights` in trace.value!.shapes;

/** Whether a head is switched off: its pictures are grey then. */
export const isOff = (name: string, head: number) =>
  trace.value!.what_if.heads_off.some(([at, which]) => at === name && which === head);

/** Whether scores are divided by √d: a model may be without. */
export const isScaled = () => !model.value!.config.without.includes("scaling");

export const hasPositions = (kind: "rotary" | "alibi" | "relative", cross: boolean) =>
  positionsOf(model.value!.config) === kind && !cross && !trace.value!.what_if.positions_off;

/** The kind of positions by which an attention has a bias on its scores, if any. */
export const biasedBy = (cross: boolean) => (["alibi", "relative"] as const).find((kind) => hasPositions(kind, cross));

/** The bias of positions on the scores of a head; undefined where there is none. */
export function useBias(name: string, head: number, rows: number, columns: number): Float32Array | null | undefined {
  return useMatrix(useFloats(`${name}.bias` in trace.value!.shapes ? `${name}.bias` : null), head, rows * columns);
}

/** Scores with their bias, and −∞ where a key is hidden. One sentence alone has no padding: only the decoder's own future is. */
export function useScores(name: string, head: number, rows: number, columns: number): Float32Array | null | undefined {
  const scores = useMatrix(useFloats(`${name}.scores`), head, rows * columns);
  const bias = useBias(name, head, rows, columns);
  return useMemo(() => {
    const causal = /^decoder.*self$/.test(name) && hasMask() && !trace.value!.what_if.mask_lifted;
    return (
      scores &&
      scores.map((value, k) =>
        causal && k % columns > Math.floor(k / columns) ? -Infinity : value + (bias ? bias[k] : 0),
      )
    );
  }, [scores, bias, name, columns]);
}

export function LayerAndHead(props: { stack: Stack }) {
  const layers = model.value!.config[`${props.stack}_layers`];
  return (
    <>
      <Choice
        title={say("layer")}
        value={number("layer", layers)}
        of={upTo(layers)}
        onChoose={(layer) => select({ layer })}
      />
      <Choice
        title={say("head")}
        value={number("head", heads())}
        of={upTo(heads())}
        onChoose={(head) => select({ head })}
      />
    </>
  );
}

/** Which stack is looked at, where there are two. */
export function StackChoice(props: { value: Stack }) {
  if (stacks().length < 2) return null;
  return (
    <Choice
      title={say("stack")}
      value={props.value}
      of={stacks().map((each) => [each, say(each)] as const)}
      onChoose={(value) => select({ stack: value, layer: 0 })}
    />
  );
}

export function Chooser() {
  const { stack, kind } = place();
  return (
    <div class="chooser">
      <StackChoice value={stack} />
      {stack === "decoder" && hasCross() && (
        <Choice
          title={say("kind")}
          value={kind}
          of={[
            ["self", say("self")],
            ["cross", say("cross")],
          ]}
          onChoose={(value) => select({ kind: value })}
        />
      )}
      <LayerAndHead stack={stack} />
    </div>
  );
}

export interface Attention {
  stack: Stack;
  layer: number;
  kind: "self" | "cross";
}

export const nameOf = ({ stack, layer, kind }: Attention) => `${stack}.${layer}.${kind}`;

/** A place for attention in every block, from the input to the output; another mixer may stand there. */
export function attentions(): Attention[] {
  return stacks().flatMap((stack) =>
    Array.from({ length: model.value!.config[`${stack}_layers`] }, (_, layer) => layer).flatMap((layer) =>
      (stack === "decoder" && hasCross() ? (["self", "cross"] as const) : (["self"] as const)).map((kind) => ({
        stack,
        layer,
        kind,
      })),
    ),
  );
}

/** In the place of an attention's pictures, where there is another mixer: where the model does attend. */
export function NoAttention() {
  const others = attentions().filter((each) => isThere(nameOf(each)));
  return (
    <>
      <Chooser />
      <Missing>{say("no_attention")}</Missing>
      {others.length > 0 && (
        <p>
          {say("attention_elsewhere")}{" "}
          {others.map((each) => [
            <button type="button" key={nameOf(each)} onClick={() => select({ ...each })}>
              {attentionName(nameOf(each))}
            </button>,
            " ",
          ])}
        </p>
      )}
    </>
  );
}

/** How queries, keys and values come about, one query at a time or all together, and what becomes of them. */
export function Formulas(props: { single?: boolean; cross: boolean }) {
  const turned = hasPositions("rotary", props.cross),
    bias = biasedBy(props.cross);
  const { single } = props,
    lecture = inColumns();
  const [own, given] = !lecture ? ["X", "Y"] : single ? ["a", "ā"] : ["I", "Ī"];
  const name = !lecture ? "rows" : single ? "query" : "columns";
  return (
    <>
      <Formula name={name} variant={turned ? "rotary" : props.cross ? "cross" : ""} />
      <Formula name={name === "query" ? "answer" : `${name}.together`} variant={bias ?? (turned ? "rotary" : "")} />
      {props.cross && <p class="explain">{say("cross_sides", { own, given })}</p>}
      {bias && <p class="explain">{say(bias)}</p>}
      {turned && (
        <p class="explain">
          {join([say("turned", { half: headWidth() / 2 }), say(single ? "shown_turned" : "turned_for_scores")])}
        </p>
      )}
    </>
  );
}

/** What an attention is given: the canonical names of the inputs of its queries, and of its keys and values. */
export function inputs(): [string, string] {
  const { stack, kind, layer, name } = place();
  const before = layer ? `${stack}.${layer - 1}.feed_forward.norm` : `${stack}.input`;
  const own =
    model.value!.config.norm === "pre" ? `${name}.norm` : kind === "cross" ? `${stack}.${layer}.self.norm` : before;
  return [own, kind === "cross" ? "encoder.output" : own];
}
