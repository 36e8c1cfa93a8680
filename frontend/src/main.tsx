import "./style.css"; // before the rules of parts, pictures and views
import { render } from "preact";
import { useSignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import {
  again,
  asked,
  busy,
  changes,
  error,
  first,
  latest,
  look,
  lost,
  model,
  outdated,
  served,
  start,
  trace,
} from "./data";
import { TwoModels } from "./two-models";
import { Examples } from "./examples";
import { Keys, LeaveProjector, projector, Screen, useKeys } from "./keys";
import { Facts, Map } from "./map";
import { Hypothetical, Missing } from "./parts";
import { Tour, TourButton } from "./tour";
import { select, selection, stacks } from "./state";
import { oneFile } from "./source";
import type { Architecture } from "./wire";
import { Beside } from "./views/beside";
import { Beam } from "./views/beam";
import { Block } from "./views/block";
import { Cross } from "./views/cross";
import { Heads } from "./views/heads";
import { Input } from "./views/input";
import { Labels } from "./views/labels";
import { Loss } from "./views/loss";
import { Mask } from "./views/mask";
import { Matrices } from "./views/matrices";
import { PositionsView } from "./views/positions";
import { OneQuery } from "./views/query";
import { StepView } from "./views/step";
import { Training } from "./views/training";
import { Whole } from "./views/whole";
import { type Word, isWord, say } from "./words";
import "./projector.css"; // after them
import "./print.css";

const VIEWS = {
  whole: Whole,
  input: Input,
  query: OneQuery,
  matrices: Matrices,
  heads: Heads,
  positions: PositionsView,
  block: Block,
  step: StepView,
  labels: Labels,
  mask: Mask,
  cross: Cross,
  loss: Loss,
  beam: Beam,
  training: Training,
  beside: Beside,
} as const;
type View = keyof typeof VIEWS;
/** The views of what a shape has not. */
const LACKING: Record<Architecture["shape"], readonly View[]> = {
  "encoder-decoder": ["labels"],
  decoder: ["labels", "cross"],
  encoder: ["step", "mask", "cross", "beam"],
};
const views = () => (Object.keys(VIEWS) as View[]).filter((name) => !LACKING[model.value!.config.shape].includes(name));

function Sentence() {
  const [text, setText] = useState(trace.value?.text ?? selection.value.text);
  const [target, setTarget] = useState(asked.value?.target ?? selection.value.target);
  const stale = trace.value && served && (text !== trace.value.text || target !== asked.value!.target);
  const go = (event: Event) => {
    event.preventDefault();
    look({ text, target, checkpoint: asked.value?.checkpoint ?? "" }); // never one that did not load
  };
  return (
    <form onSubmit={go} class="sentence">
      <label>
        {say("sentence")}{" "}
        <input
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          disabled={!served}
          lang=""
          dir="auto"
        />
      </label>
      {served && (
        <label class="reference">
          {say("reference_optional")}{" "}
          <input
            value={target}
            onInput={(event) => setTarget(event.currentTarget.value)}
            placeholder={projector.value ? say("reference_optional") : undefined}
            lang=""
            dir="auto"
          />
        </label>
      )}
      <button type="submit" disabled={!served || busy.value || !text.trim()}>
        {busy.value ? "…" : say("look")}
      </button>
      {error.value && (
        <p role="alert" class="error">
          {say(`failed_${error.value.code}`, { ...error.value.values, error: error.value.error })}
          {stale && <span>{say("still_showing", { text: trace.value!.text })}</span>}
        </p>
      )}
    </form>
  );
}

/** What a view shows in this shape. */
const explained = (view: View) => {
  const lifted = trace.value?.what_if.mask_lifted ? [`explain_${view}_lifted`] : [];
  const own = trace.value?.reference === null ? [`explain_${view}_own`] : [];
  const { config, decoding } = model.value!;
  return [
    ...lifted,
    `explain_${view}_${config.shape}`,
    ...own,
    `explain_${view}_${decoding.stop}`,
    `explain_${view}`,
  ].find(isWord) as Word;
};

const Lost = () => (
  <div role="alert">
    <Missing>
      {say("lost")}{" "}
      <button type="button" disabled={busy.value} onClick={() => again({})}>
        {say("look_again")}
      </button>
    </Missing>
  </div>
);

/** The sentence and what the model answers, once. */
function Answer() {
  const now = trace.value;
  if (!now) return null;
  return (
    <p class="output">
      <bdi class="given" lang="">
        {now.text}
      </bdi>{" "}
      →{" "}
      <b>
        <bdi data-output lang="">
          {now.output}
        </bdi>
      </b>
      {!now.output && <i>{say("nothing")}</i>}
    </p>
  );
}

function Page() {
  const { view, lang, notation } = selection.value;
  const folded = useSignal(true);
  const tabs = useRef<HTMLElement>(null);
  useEffect(() => {
    const tab = tabs.current?.querySelector<HTMLElement>("[aria-current=page]");
    if (tab) tabs.current!.scrollLeft = tab.offsetLeft - (tabs.current!.clientWidth - tab.clientWidth) / 2;
  }, [view, model.value]);
  useKeys(() => views().map((name) => [name, say(`view_${name}`)]));
  document.documentElement.lang = lang === "zh" ? "zh-Hans" : "en";
  if (!model.value) return <p>…</p>;
  const current = views().find((name) => name === view) ?? "whole";
  const Shown = VIEWS[current];
  const now = trace.value,
    { norm, [`${stacks()[0]}_mixer` as const]: mixer } = model.value.config;
  const title = (name: View) => say(`view_${name}`);
  document.title = `zhuyi · ${title(current)}`;
  return (
    <>
      <header class={folded.value ? "folded" : ""}>
        <h1>
          注意 <span>zhuyi</span>
        </h1>
        <Sentence key={`${asked.value?.text}\n${asked.value?.target}`} />
        <button
          type="button"
          class="fold"
          aria-label={say("more_settings")}
          aria-expanded={!folded.value}
          onClick={() => {
            folded.value = !folded.value;
          }}
        >
          ⋯
        </button>
        <div class="switches">
          {now && <TourButton />}
          <Screen />
          <label>
            {say("language")}{" "}
            <select value={lang} onChange={(event) => select({ lang: event.currentTarget.value })}>
              <option value="en">English</option>
              <option value="zh">简体中文</option>
            </select>
          </label>
          <label>
            {say("notation")}{" "}
            <select value={notation} onChange={(event) => select({ notation: event.currentTarget.value })}>
              <option value="lecture">{say("lecture")}</option>
              <option value="torch">PyTorch</option>
            </select>
          </label>
        </div>
        <div class="answered">
          <Answer />
          <Examples />
        </div>
      </header>
      <Keys />
      <nav class="views" aria-label={say("views")} ref={tabs}>
        {views().map((name) => (
          <button
            type="button"
            key={name}
            aria-current={name === current ? "page" : undefined}
            onClick={() => select({ view: name })}
          >
            {title(name)}
          </button>
        ))}
        {projector.value && <LeaveProjector />}
      </nav>
      <div class="body">
        {!projector.value && current !== "whole" && <Map />}
        <article aria-busy={busy.value} data-view={current}>
          <h2>{title(current)}</h2>
          <p class="explain">{say(explained(current), { mixer: say(`mixer_${mixer}`), norm: say(`block_${norm}`) })}</p>
          {now ? (
            <>
              <TwoModels />
              <Hypothetical />
              {lost.value ? <Lost /> : <Shown key={current} />}
              {current === "whole" && <Facts />}
            </>
          ) : current === "beside" ? (
            <Beside />
          ) : (
            <p>{say("type_a_sentence")}</p>
          )}
        </article>
      </div>
      <Tour />
      <footer>
        <p>{say("caution")}</p>
        {now?.difference !== 0 && now && (
          <p>
            {now.difference === null
              ? say("no_difference")
              : say("difference", { by: now.difference.toExponential(1) })}
          </p>
        )}
        {model.value.precision === "float16" && <p>{say("half_precision")}</p>}
        {oneFile && <p>{say("one_file")}</p>}
        <p>zhuyi {model.value.zhuyi}</p>
      </footer>
    </>
  );
}

/** Look at what the address asks for, unless that was asked last; at the first example, if it asks for nothing. */
function follow(): void {
  const { text, target, checkpoint, if: changed } = selection.value,
    last = latest();
  const same =
    last?.text === text && last.target === target && last.checkpoint === checkpoint && changes(last) === changed;
  const [example] = first.value!.examples;
  if (served && text && !same) look({ text, target, checkpoint }, changed);
  else if (served && !text && !last && example) look({ ...example, checkpoint }, changed);
}

/** The address says what is shown, and not what failed; but a later question stands in it already. */
function writeAddress(): void {
  const now = asked.value;
  if (now && !outdated()) select({ text: now.text, target: now.target, checkpoint: now.checkpoint, if: changes(now) });
}

asked.subscribe(writeAddress);
error.subscribe(writeAddress);

start().then(() => {
  render(<Page />, document.getElementById("page")!);
  performance.mark("drawn");
  follow();
  addEventListener("hashchange", follow); // a link pasted into an open tab
});
