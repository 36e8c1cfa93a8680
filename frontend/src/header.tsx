// Above the views: the sentence, what the model answers to it, and the settings of the page.
import { useSignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { asked, busy, error, look, served, trace } from "./data";
import { Examples } from "./examples";
import { projector, Screen } from "./keys";
import { select, selection } from "./state";
import { TourButton } from "./tour";
import { reason, say } from "./words";
import "./header.css";

export function Header() {
  const folded = useSignal(true);
  return (
    <header class={folded.value ? "folded" : ""}>
      <h1>
        注意 <span>zhuyi</span>
      </h1>
      <Sentence />
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
      <Settings />
      <div class="answered">
        <Answer />
        <Examples />
      </div>
    </header>
  );
}

function Settings() {
  const { lang, notation } = selection.value;
  return (
    <div class="switches">
      {trace.value && <TourButton />}
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
  );
}

function Sentence() {
  const [text, setText] = useState(trace.value?.text ?? selection.value.text);
  const [target, setTarget] = useState(asked.value?.target ?? selection.value.target);
  /** Whether one has typed on since the last question was asked. */
  const edited = useRef(false);
  useEffect(() => {
    if (busy.value) edited.current = false;
  }, [busy.value]);
  useEffect(() => {
    if (!asked.value || edited.current) return;
    setText(asked.value.text);
    setTarget(asked.value.target);
  }, [asked.value?.text, asked.value?.target]);
  const typed = (set: (text: string) => void) => (event: { currentTarget: HTMLInputElement }) => {
    edited.current = true;
    set(event.currentTarget.value);
  };
  const stale = trace.value && served && (text !== trace.value.text || target !== asked.value!.target);
  const go = (event: Event) => {
    event.preventDefault();
    look({ text, target, checkpoint: asked.value?.checkpoint ?? "" }); // never one that did not load
  };
  return (
    <form onSubmit={go} class="sentence">
      <label>
        {say("sentence")} <input value={text} onInput={typed(setText)} disabled={!served} lang="" dir="auto" />
      </label>
      {served && (
        <label class="reference">
          {say("reference_optional")}{" "}
          <input
            value={target}
            onInput={typed(setTarget)}
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
          {reason(error.value)}
          {stale && <span>{say("still_showing", { text: trace.value!.text })}</span>}
        </p>
      )}
    </form>
  );
}

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
