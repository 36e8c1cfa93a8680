// What views are made of beside their pictures: sliders, choices, formulas, notes.
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { again, busy, model, peek, plain, saw, served, trace, writes } from "./data";
import formulas from "./formulas.json";
import { sum } from "./numbers";
import { labels } from "./pictures/tokens";
import type { WhatIf } from "./wire";
import { join, say, show } from "./words";

/** A head's name for people. */
export function headName(name: string, head: number): string {
  const [stack, layer, kind] = name.split(".") as ["encoder" | "decoder", string, "self" | "cross"];
  return say("head_name", { stack: say(stack), layer, kind: say(kind), head });
}

/** An attention's name for people. */
export function attentionName(name: string): string {
  const [stack, layer, kind] = name.split(".") as ["encoder" | "decoder", string, "self" | "cross"];
  return say("attention_name", { stack: say(stack), layer, kind: say(kind) });
}

/** A formula in a line of text: the letters of the learned matrices W^q and W_q stand above or below. */
export const Letters = (props: { of: string }) => (
  <>
    {props.of
      .split(/(?<=W)([\^_][qkvo])/)
      .map((each) =>
        /^\^[qkvo]$/.test(each) ? <sup>{each[1]}</sup> : /^_[qkvo]$/.test(each) ? <sub>{each[1]}</sub> : each,
      )}
  </>
);

export function Slider(props: {
  title: string;
  value: number;
  most: number;
  step?: number;
  least?: number;
  onMove: (value: number) => void;
  shown?: string;
  disabled?: boolean;
}) {
  return (
    <label class="slider">
      {props.title}
      <input
        type="range"
        min={props.least ?? 0}
        max={props.most}
        step={props.step ?? 1}
        value={props.value}
        disabled={props.disabled}
        aria-valuetext={props.shown}
        onInput={(event) => props.onMove(Number(event.currentTarget.value))}
      />
      <output>{props.shown ?? props.value}</output>
    </label>
  );
}

export function Choice<T extends string | number>(props: {
  title: string;
  value: T;
  of: readonly (readonly [T, string])[];
  onChoose: (value: T) => void;
}) {
  return (
    <label>
      {props.title}{" "}
      <select value={props.value} onChange={(event) => props.onChoose(props.of[event.currentTarget.selectedIndex][0])}>
        {props.of.map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** What makes a shape of a drawing a button: Enter and Space press it. */
export const pressable = (press: () => void) => ({
  role: "button" as const,
  tabIndex: 0,
  onKeyDown: (event: KeyboardEvent) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    press();
  },
});

export const upTo = (count: number) => Array.from({ length: count }, (_, k) => [k, String(k)] as const);

/** A button that asks the model what would be if, and what came of it. */
export function Ask(props: { change: Partial<WhatIf>; disabled?: boolean; children: ComponentChildren }) {
  return (
    <>
      <p>
        <button type="button" disabled={!served || busy.value || props.disabled} onClick={() => again(props.change)}>
          {props.children}
        </button>
        {!served && <em> {say("failed_needs_server")}</em>}
      </p>
      <Outcome />
    </>
  );
}

const NOTHING: WhatIf = { heads_off: [], positions_off: false, mask_lifted: false, prefix: [] };

/** What the changes made of the answer and of the loss: before → after. */
export function Outcome() {
  const { what_if, output, replay, reference } = trace.value!;
  const changed = JSON.stringify({ ...NOTHING, ...what_if }) !== JSON.stringify(NOTHING);
  const before = saw(NOTHING);
  useEffect(() => {
    if (changed) peek(NOTHING).catch(() => null); // then only what is now can be shown
  }, [changed, trace.value]);
  if (!changed) return null;
  const losses = reference?.losses ?? replay.losses;
  const former = before && (reference ? before.reference : before.own);
  return (
    <p class="changed outcome" aria-live="polite">
      {say("answer")}{" "}
      {before && (
        <>
          <bdi data-before>{before.output || say("nothing")}</bdi> →{" "}
        </>
      )}
      <b>
        <bdi>{output || say("nothing")}</bdi>
      </b>
      <br />
      {say(reference ? "total_reference" : "total_own")} {former && `${show(sum(former))} → `}
      <b>{show(sum(losses))}</b>
    </p>
  );
}

/** What is not as the model has it; shown above every view. */
export function Hypothetical() {
  const {
    what_if: { heads_off, positions_off, mask_lifted, prefix },
    decoding,
  } = trace.value!;
  const { beam, length_penalty } = model.value!.decoding;
  const changes = [
    ...heads_off.map(([name, head]) => say("head_is_off", { head: headName(name, head) })),
    ...(positions_off ? [say("positions_are_off")] : []),
    ...(mask_lifted ? [say("mask_is_lifted")] : []),
    ...(prefix.length
      ? [
          say("prefix_is_given", {
            prefix: labels(trace.value!.replay.target_out).slice(0, prefix.length).join(" "),
          }),
        ]
      : []),
    ...(writes() && decoding.beam !== beam ? [say("beam_is", { now: decoding.beam, own: beam })] : []),
    ...(writes() && decoding.length_penalty !== length_penalty
      ? [say("penalty_is", { now: decoding.length_penalty, own: length_penalty })]
      : []),
  ];
  if (!changes.length) return null;
  return (
    <p class="changed" role="status">
      <b>{say("hypothetical")}</b>
      {join(["", ...changes])}{" "}
      {served && (
        <button type="button" onClick={() => again(plain())}>
          {say("as_it_is")}
        </button>
      )}
    </p>
  );
}

/** `variant`: where there is one of that name. */
export function Formula(props: { name: string; variant?: string }) {
  const all = formulas as Record<string, string>;
  const name = `${props.name}.${props.variant}` in all ? `${props.name}.${props.variant}` : props.name;
  const unscaled = model.value!.config.without.includes("scaling") ? all[`${name}.unscaled`] : undefined;
  return (
    <p
      lang="en"
      class="formula"
      tabIndex={0}
      role="group"
      aria-label={say("formula")}
      dangerouslySetInnerHTML={{ __html: unscaled ?? all[name] }}
    />
  );
}

export const Missing = (props: { children: ComponentChildren }) => <p class="missing">{props.children}</p>;

/** In the place of a tensor that is on its way (undefined), or that was left out (null). */
export const Absent = (props: { of: null | undefined; title?: string }) => (
  <Missing>
    {props.title && `${props.title}: `}
    {props.of === null ? say("left_out") : "…"}
  </Missing>
);
