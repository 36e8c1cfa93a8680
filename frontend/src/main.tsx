import "./style.css"; // before the rules of parts, pictures and views
import { render } from "preact";
import { useEffect, useRef } from "preact/hooks";
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
import { Header } from "./header";
import { Keys, LeaveProjector, projector, useKeys } from "./keys";
import { Facts, ModelMap } from "./map";
import { Hypothetical, Missing } from "./parts";
import { oneFile } from "./source";
import { select, selection, stacks } from "./state";
import { Tour } from "./tour";
import { TwoModels } from "./two-models";
import { explained, type View, VIEWS, views } from "./views";
import { Beside } from "./views/beside";
import { reason, say } from "./words";
import "./projector.css"; // after them
import "./print.css";

const title = (view: View) => say(`view_${view}`);

function Page() {
  useKeys(() => views().map((view) => [view, title(view)]));
  document.documentElement.lang = selection.value.lang === "zh" ? "zh-Hans" : "en";
  if (!model.value) return <p role="alert">{reason(error.value!)}</p>;
  const current = views().find((view) => view === selection.value.view) ?? "whole";
  document.title = `zhuyi · ${title(current)}`;
  return (
    <>
      <Header />
      <Keys />
      <Tabs current={current} />
      <div class="body">
        {!projector.value && current !== "whole" && <ModelMap />}
        <Article view={current} />
      </div>
      <Tour />
      <Footer />
    </>
  );
}

/** The view that is shown is in sight among the others. */
function Tabs(props: { current: View }) {
  const tabs = useRef<HTMLElement>(null);
  useEffect(() => {
    const tab = tabs.current!.querySelector<HTMLElement>("[aria-current=page]")!;
    tabs.current!.scrollLeft = tab.offsetLeft - (tabs.current!.clientWidth - tab.clientWidth) / 2;
  }, [props.current, model.value]);
  return (
    <nav class="views" aria-label={say("views")} ref={tabs}>
      {views().map((view) => (
        <button
          type="button"
          key={view}
          aria-current={view === props.current ? "page" : undefined}
          onClick={() => select({ view })}
        >
          {title(view)}
        </button>
      ))}
      {projector.value && <LeaveProjector />}
    </nav>
  );
}

function Article({ view }: { view: View }) {
  const Shown = VIEWS[view];
  const { norm, [`${stacks()[0]}_mixer` as const]: mixer } = model.value!.config;
  return (
    <article aria-busy={busy.value} data-view={view}>
      <h2>{title(view)}</h2>
      <p class="explain">{say(explained(view), { mixer: say(`mixer_${mixer}`), norm: say(`block_${norm}`) })}</p>
      {trace.value ? (
        <>
          <TwoModels />
          <Hypothetical />
          {lost.value ? <Lost /> : <Shown key={view} />}
          {view === "whole" && <Facts />}
        </>
      ) : view === "beside" ? (
        <Beside />
      ) : (
        <p>{say("type_a_sentence")}</p>
      )}
    </article>
  );
}

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

function Footer() {
  const { precision, zhuyi } = model.value!;
  const by = trace.value?.difference;
  return (
    <footer>
      <p>{say("caution")}</p>
      {by === null && <p>{say("no_difference")}</p>}
      {by ? <p>{say("difference", { by: by.toExponential(1) })}</p> : null}
      {precision === "float16" && <p>{say("half_precision")}</p>}
      {oneFile && <p>{say("one_file")}</p>}
      <p>zhuyi {zhuyi}</p>
    </footer>
  );
}

/** Look at what the address asks for, unless that was asked last; at the first example, if it asks for nothing. */
function follow(): void {
  if (!first.value) return; // nor can the page be used
  const { text, target, checkpoint, if: changed } = selection.value,
    last = latest();
  const same =
    last?.text === text && last.target === target && last.checkpoint === checkpoint && changes(last) === changed;
  const [example] = first.value.examples;
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
