import { render } from "preact";
import { useState } from "preact/hooks";
import { busy, error, look, model, served, start, trace } from "./data";
import { Hypothetical } from "./parts";
import { select, selection } from "./state";
import "./style.css";
import { Cross, Heads, Mask, Matrices, OneQuery } from "./views/attention";
import { Beam, Block, Input, Loss, PositionsView, StepView, Training } from "./views/rest";
import { say } from "./words";

const VIEWS = {
  input: Input, query: OneQuery, matrices: Matrices, heads: Heads, positions: PositionsView, block: Block,
  step: StepView, mask: Mask, cross: Cross, loss: Loss, beam: Beam,
  training: Training,
} as const;
type View = keyof typeof VIEWS;

function Sentence() {
  const [text, setText] = useState(trace.value?.text ?? selection.value.text);
  const [target, setTarget] = useState(selection.value.target);
  const go = (event: Event) => {
    event.preventDefault();
    select({ text, target });
    look({ text, target: target || undefined, checkpoint: selection.value.checkpoint });
  };
  return (
    <form onSubmit={go} class="sentence">
      <label>{say("sentence")} <input value={text} onInput={(event) => setText(event.currentTarget.value)} disabled={!served} lang="" /></label>
      {served && <label>{say("reference_optional")} <input value={target} onInput={(event) => setTarget(event.currentTarget.value)} lang="" /></label>}
      <button type="submit" disabled={!served || busy.value || !text.trim()}>{busy.value ? "…" : say("look")}</button>
      {error.value && <p role="alert" class="error">{error.value}</p>}
    </form>
  );
}

/** The model, drawn from its own configuration: each part leads to the view that shows it. */
function Map() {
  const config = model.value!.config;
  const go = (stack: string, layer: number, kind: string, view: View) => () => select({ stack, layer, kind, view });
  const part = (stack: string, layer: number, kind: string, view: View, title: string) => (
    <button type="button" aria-current={selection.value.view === view && selection.value.stack === stack && selection.value.layer === String(layer) && (stack === "encoder" || selection.value.kind === kind) ? "true" : undefined} onClick={go(stack, layer, kind, view)}>{title}</button>
  );
  const norm = `${config.norm}-norm (${config.norm_kind})`;
  const stack = (name: string, layers: number, kinds: string[]) => (
    <section><h3>{say(name as "encoder")}</h3>
      {Array.from({ length: layers }, (_, k) => layers - 1 - k).map((layer) => (
        <div class="block" key={layer}><small>{layer}</small>
          {name === "encoder" ? part(name, layer, "self", "block", "FFN") : <span>FFN</span>}
          {kinds.slice().reverse().map((kind) => part(name, layer, kind, kind === "cross" ? "cross" : "heads", kind === "cross" ? "cross" : name === "decoder" ? "masked self" : "self"))}
        </div>
      ))}
    </section>
  );
  return (
    <nav class="map" aria-label={say("map")}>
      <p><b>{model.value!.name}</b><br />{say("parameters", { n: model.value!.parameters.toLocaleString() })}<br />{norm}<br />{say("positions_are", { how: config.positions })}<br />{say("tied", { how: config.tie })}</p>
      {stack("decoder", config.decoder_layers, ["self", "cross"])}
      {stack("encoder", config.encoder_layers, ["self"])}
    </nav>
  );
}

function Page() {
  const { view, lang, notation } = selection.value;
  const current = (view in VIEWS ? view : "input") as View;
  const Shown = VIEWS[current];
  document.documentElement.lang = lang === "zh" ? "zh-Hans" : "en";
  document.title = `zhuyi · ${say(`view_${current}`)}`;
  if (!model.value) return <p>…</p>;
  const now = trace.value;
  return (
    <>
      <header><h1>注意 <span>zhuyi</span></h1>
        <Sentence key={now?.text ?? ""} />
        <div class="switches">
          <label>{say("language")} <select value={lang} onChange={(event) => select({ lang: event.currentTarget.value })}><option value="en">English</option><option value="zh">简体中文</option></select></label>
          <label>{say("notation")} <select value={notation} onChange={(event) => select({ notation: event.currentTarget.value })}><option value="lecture">{say("lecture")}</option><option value="torch">PyTorch</option></select></label>
        </div>
      </header>
      <nav class="views" aria-label={say("views")}>{(Object.keys(VIEWS) as View[]).map((name) => (
        <button type="button" key={name} aria-current={name === current ? "page" : undefined} onClick={() => select({ view: name })}>{say(`view_${name}`)}</button>
      ))}</nav>
      <div class="body">
        <Map />
        <article aria-busy={busy.value}>
          <h2>{say(`view_${current}`)}</h2>
          <p class="explain">{say(`explain_${current}`)}</p>
          {now ? <><p class="output"><span lang="">{now.text}</span> → <b data-output lang="">{now.output}</b>{!now.output && <i>{say("nothing")}</i>}</p><Hypothetical /><Shown key={current} /></> : <p>{say("type_a_sentence")}</p>}
        </article>
      </div>
      <footer><p>{say("caution")}</p>
        {now && <p>{now.difference === null ? say("no_difference") : say("difference", { by: now.difference === 0 ? "0" : now.difference.toExponential(1) })}</p>}
        {!served && <p>{say("one_file")}</p>}</footer>
    </>
  );
}

start().then(() => {
  render(<Page />, document.getElementById("page")!);
  performance.mark("ready");
  if (served && selection.value.text) look({ text: selection.value.text, target: selection.value.target || undefined, checkpoint: selection.value.checkpoint });
});
