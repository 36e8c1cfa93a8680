// The guided tour: through the views in the order of the lecture, with what there is to see of this sentence and this model.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { trace } from "../data";
import { covered } from "../pictures/canvas";
import { select, selection } from "../state";
import { say } from "../words";
import { type Stop, stops, titleOf } from "./stops";
import "./tour.css";

export const TourButton = () => (
  <button
    type="button"
    class="start-tour"
    aria-pressed={selection.value.tour !== ""}
    onClick={() => select({ tour: selection.value.tour ? "" : 1 })}
  >
    {say("tour")}
  </button>
);

/** The panel, while the address names a stop, from 1. */
export function Tour() {
  if (!trace.value) return null;
  const all = stops();
  const at = Math.min(all.length, Number.parseInt(selection.value.tour, 10) || 0);
  return at > 0 ? <Panel stops={all} at={at} /> : null;
}

function Panel(props: { stops: Stop[]; at: number }) {
  const { stops, at } = props;
  const stop = stops[at - 1];
  const go = (to: number) => select({ tour: to < 1 || to > stops.length ? "" : to });
  const panel = useCovering();
  const next = useRef<HTMLButtonElement>(null);
  const sentences = useSentences(stop, at);
  useEffect(() => next.current?.focus({ preventScroll: true }), [at]);
  useTourKeys({ ArrowRight: () => go(at + 1), ArrowLeft: () => go(Math.max(1, at - 1)), Escape: () => go(0) });
  return (
    <aside class="tour" ref={panel} aria-label={say("tour")}>
      <div class="progress" role="group" aria-label={say("tour_stops")}>
        {stops.map((each, k) => (
          <button
            type="button"
            key={each.view}
            class={k < at ? "done" : ""}
            aria-current={k === at - 1 ? "step" : undefined}
            aria-label={titleOf(each)}
            title={titleOf(each)}
            onClick={() => go(k + 1)}
          />
        ))}
      </div>
      <div class="said" aria-live="polite">
        <b>
          {at} / {stops.length} · {titleOf(stop)}
        </b>
        {sentences.map((sentence) => (
          <p key={sentence}>{sentence}</p>
        ))}
      </div>
      <div class="go">
        <button type="button" disabled={at === 1} onClick={() => go(at - 1)}>
          ← {say("tour_previous")}
        </button>
        <button type="button" class="main" ref={next} onClick={() => go(at + 1)}>
          {say(at === stops.length ? "tour_end" : "tour_next")} →
        </button>
        <button type="button" onClick={() => go(0)}>
          {say("tour_leave")}
        </button>
      </div>
    </aside>
  );
}

/** What is said at a stop. Its view is opened when one comes to it, and not when only the language changes. */
function useSentences(stop: Stop, at: number): string[] {
  const [sentences, setSentences] = useState<string[]>([]);
  const now = trace.value;
  const { lang, notation } = selection.value;
  const opened = useRef<{ at: number; now: unknown } | null>(null);
  useEffect(() => {
    let current = true;
    stop.content().then((found) => {
      if (!current) return;
      setSentences(found.sentences);
      if (opened.current?.at === at && opened.current.now === now) return;
      opened.current = { at, now };
      select({ view: stop.view, ...found.seen });
      requestAnimationFrame(() => document.querySelector("article")?.scrollIntoView()); // when the view has its height
    });
    return () => {
      current = false;
    };
  }, [at, now, lang, notation]);
  return sentences;
}

/** Keys of the tour come before those of the page; but what has the focus has its own. */
function useTourKeys(actions: Record<string, () => void>): void {
  const latest = useRef(actions);
  latest.current = actions;
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const { target } = event;
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const inPanel = target instanceof Element && target.closest(".tour") !== null;
      const act = latest.current[event.key];
      if (!act || (!inPanel && target !== document.body)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      act();
    };
    addEventListener("keydown", press, true);
    return () => removeEventListener("keydown", press, true);
  }, []);
}

/** Pictures are as large as the panel leaves them room. */
function useCovering() {
  const panel = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const { current } = panel;
    const observer = new ResizeObserver(() => (covered.value = current!.offsetHeight));
    observer.observe(current!);
    return () => {
      observer.disconnect();
      covered.value = 0;
    };
  }, []);
  return panel;
}
