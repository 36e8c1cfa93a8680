// The whole model as one running picture: a token is fed, light travels up, and the answer grows.
import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { paper } from "../colours";
import { answerTokens, begin, model, tokensOf, trace, writes } from "../data";
import { projector } from "../keys";
import { useRoom } from "../pictures/room";
import { csvOf, Save, together } from "../pictures/save";
import { labels } from "../pictures/tokens";
import { type Stack, hasCross, number, select, selection } from "../state";
import { type Size, arrange } from "../whole/arrange";
import { Ground } from "../whole/ground";
import { narration } from "../whole/narration";
import { paint } from "../whole/paint";
import { described, viewOf } from "../whole/parts";
import type { Row } from "../whole/rows";
import { useScene } from "../whole/scene";
import { type Looked, Signs } from "../whole/signs";
import { type Pass, end, endOf, moment, passes, stops } from "../whole/time";
import { isolate, ordinal, say } from "../words";
import "./whole.css";

const SPEEDS = [0.25, 0.5, 1, 2, 4];
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Below the picture, for the name of what one points at, in em. */
const INFO = 1.2;

export function Whole() {
  const { lang, notation } = selection.value;
  const now = trace.value!;
  const [box, room] = useRoom(now, projector.value);
  const size = useMemo(
    (): Size | null => room && { ...room, height: room.height - INFO * room.em, least: projector.value ? 24 : 11 },
    [room],
  );
  const drawn = useMemo(() => size && arrange(size), [size, now, lang, notation]);
  const canvas = useRef<HTMLCanvasElement>(null);
  const slider = useRef<HTMLInputElement>(null);
  const picture = useRef<HTMLDivElement>(null);
  const state = useRef({ at: 0, until: 0, last: 0, frame: 0 });
  const followed = useRef(-1);
  const playing = useSignal(false);
  const speed = useSignal(2);
  const caption = useSignal("");
  const printed = useSignal<string | null>(null);
  const looked = useSignal<Looked | null>(null);
  const all = useMemo(
    (): Pass[] => (drawn ? passes(drawn.plan, answerTokens().ids.length, begin(), writes()) : []),
    [drawn, now],
  );
  const ends = all.length ? end(all) : 0;
  const rolled = drawn?.plan.towers[0].side === "inside";

  const draw = () => {
    if (!scene || !canvas.current || !all.length) return;
    const at = moment(scene.plan, all, state.current.at);
    const { stack, position } = looked.value ?? { stack: "encoder" as const, position: null };
    scene.label = number("t", answerTokens().ids.length);
    scene.looked = position === null ? null : { stack, position };
    paint({ pen: canvas.current.getContext("2d")!, scene, now: at }, all);
    if (slider.current) slider.current.value = String(state.current.at);
    // Where the picture is higher than its room, the light stays in the middle; but one may look elsewhere meanwhile.
    if (followed.current !== state.current.at) box.current!.scrollTop = at.y - box.current!.clientHeight / 2;
    followed.current = state.current.at;
    // A browser prints what was drawn on a canvas while it prepares for it in another size, and not transparently.
    printed.value = paper.value ? canvas.current.toDataURL() : null;
    const words = narration(scene, at);
    if (words !== caption.value) caption.value = words;
  };
  const scene = useScene(drawn, box, () => draw());

  const settle = () => {
    const t = all.length && writes() ? moment(drawn!.plan, all, state.current.at).pass.t : null;
    if (t !== null && t !== number("t", answerTokens().ids.length)) select({ t });
  };
  const stop = () => {
    playing.value = false;
    cancelAnimationFrame(state.current.frame);
    settle();
  };
  const tick = (time: number) => {
    const now = state.current;
    now.at = Math.min(now.until, now.at + Math.min(0.1, (time - now.last) / 1000) * SPEEDS[speed.value]);
    now.last = time;
    draw();
    if (now.at >= now.until) stop();
    else now.frame = requestAnimationFrame(onward);
  };
  // The picture may be laid out anew while it runs (the projector, the window, the language).
  const latest = useRef(tick);
  latest.current = tick;
  const onward = (time: number) => latest.current(time);
  const run = (from: number, until: number) => {
    cancelAnimationFrame(state.current.frame);
    Object.assign(state.current, { at: from, until, last: performance.now() });
    playing.value = true;
    state.current.frame = requestAnimationFrame(onward);
  };
  const play = () => (playing.value ? stop() : run(state.current.at >= ends - 0.01 ? 0 : state.current.at, ends));
  const seek = (at: number) => {
    cancelAnimationFrame(state.current.frame);
    playing.value = false;
    state.current.at = Math.max(0, Math.min(ends, at));
    draw();
    settle();
  };
  /** To the next stop, or to the one before. */
  const step = (by: number) => {
    const places = stops(drawn!.plan, all),
      { at } = state.current;
    const next = by > 0 ? places.find((each) => each > at + 0.002) : places.filter((each) => each < at - 0.002).pop();
    if (by > 0 && next !== undefined && !calm.matches) run(at, next);
    else seek(next ?? (by > 0 ? ends : 0));
  };

  // A new answer is played; the page as it was left, or a link to a step, stands still.
  const fresh = useRef<unknown>(null);
  useLayoutEffect(() => {
    if (!scene) return;
    canvas.current!.width = scene.plan.width * scene.ratio;
    canvas.current!.height = scene.plan.height * scene.ratio;
    if (fresh.current === now) {
      draw();
      return;
    }
    fresh.current = now;
    const t = number("t", answerTokens().ids.length);
    state.current.at = writes() ? (t || calm.matches ? endOf(all, t || answerTokens().ids.length - 1) : 0) : ends;
    if (!t && !calm.matches) run(0, ends);
    else {
      playing.value = false;
      draw();
    }
  }, [scene]);
  useEffect(draw, [looked.value]);
  useEffect(() => {
    return () => cancelAnimationFrame(state.current.frame);
  }, []);
  const chosen = number("t", answerTokens().ids.length);
  useEffect(() => {
    if (scene && !writes()) draw();
    else if (
      scene &&
      !playing.value &&
      all.length &&
      moment(scene.plan, all, state.current.at).pass.t !== chosen &&
      fresh.current === now
    )
      seek(endOf(all, chosen));
  }, [chosen]);

  const open = (row: Row, stack: Stack) => {
    settle();
    select(viewOf(row, stack));
  };
  const steps = answerTokens().ids.length;
  const place = looked.value;
  const { heads, without } = model.value!.config;
  const separator = lang === "zh" ? "、" : ", ";
  const csv = () =>
    csvOf([
      [say(writes() ? "step" : "position"), say("token"), "p", say("is_chosen")],
      ...scene!.top.flatMap((step, t) =>
        step.map(({ text, p }, k) => [ordinal(t), text, p, k === scene!.chosen[t] ? 1 : 0]),
      ),
    ]);
  const info = place?.row
    ? described(place.row, place.stack)
    : place?.position != null
      ? `${ordinal(place.position)} · ${isolate(labels(tokensOf(place.stack))[place.position])}`
      : "";
  return (
    <figure
      class="whole"
      onKeyDown={(event) => {
        if (
          event.target instanceof HTMLInputElement ||
          event.target instanceof HTMLSelectElement ||
          event.target instanceof HTMLButtonElement
        )
          return;
        if (event.key === " ") {
          event.preventDefault();
          event.stopPropagation();
          play();
        }
      }}
    >
      <div class="transport" role="group" aria-label={say("steps")}>
        <button type="button" class="main" data-play onClick={play}>
          {playing.value ? `❚❚ ${say("pause")}` : `▶ ${say("play")}`}
        </button>
        <button type="button" aria-label={say("whole_before")} title={say("whole_before")} onClick={() => step(-1)}>
          ‹
        </button>
        <button type="button" aria-label={say("whole_next")} title={say("whole_next")} onClick={() => step(1)}>
          ›
        </button>
        {writes() && (
          <button
            type="button"
            aria-label={say("whole_next_token")}
            title={say("whole_next_token")}
            onClick={() => {
              const { t } = moment(drawn!.plan, all, state.current.at).pass;
              seek(endOf(all, Math.min(steps - 1, t === null ? 0 : t + 1)));
            }}
          >
            »
          </button>
        )}
        <input
          ref={slider}
          type="range"
          min={0}
          max={ends}
          step={0.01}
          aria-label={say("whole_time")}
          aria-valuetext={caption.value}
          onInput={(event) => seek(Number(event.currentTarget.value))}
        />
        <label>
          {say("speed")}{" "}
          <select
            value={speed.value}
            onChange={(event) => {
              speed.value = Number(event.currentTarget.value);
            }}
          >
            {SPEEDS.map((each, k) => (
              <option key={each} value={k}>
                {each} ×
              </option>
            ))}
          </select>
        </label>
      </div>
      <p class="narration" aria-live={playing.value ? "off" : "polite"}>
        {caption.value}
      </p>
      {without.length > 0 && (
        <p class="lack">{say("whole_lacks", { parts: without.map((part) => say(`lack_${part}`)).join(separator) })}</p>
      )}
      <div
        class="window"
        ref={box}
        {...(rolled && {
          style: { maxHeight: `${Math.max(size!.height, 20 * size!.em)}px` },
          tabIndex: 0,
          role: "region",
          "aria-label": say("view_whole"),
        })}
      >
        {drawn && (
          <div class="picture" ref={picture}>
            <Ground plan={drawn.plan} />
            <canvas
              ref={canvas}
              style={{ width: `${drawn.plan.width}px`, height: `${drawn.plan.height}px` }}
              aria-hidden="true"
            />
            {printed.value && (
              <svg class="printed" viewBox={`0 0 ${drawn.plan.width} ${drawn.plan.height}`} aria-hidden="true">
                <image href={printed.value} width={drawn.plan.width} height={drawn.plan.height} />
              </svg>
            )}
            <Signs
              plan={drawn.plan}
              looked={place}
              onLook={(next) => {
                looked.value = next;
              }}
              onOpen={open}
              onStep={(t) => seek(t < 0 ? 0 : endOf(all, Math.min(steps - 1, t)))}
            />
          </div>
        )}
      </div>
      <p class="info" data-info>
        {info && <span>{info}</span>}
      </p>
      <p class="hint">
        {say(hasCross() ? "whole_hint" : "whole_hint_one")}
        <Save name={say("view_whole")} svg={() => picture.current && together(picture.current)} csv={csv} />
      </p>
      <ul class="legend">
        <li>
          <i class="plus" /> + <i class="minus" /> − {say("whole_strips")}
        </li>
        <li>
          {Array.from({ length: Math.min(8, heads) }, (_, k) => (
            <i key={k} class={`head-${k}`} />
          ))}{" "}
          {say("whole_heads", { n: heads })}
        </li>
        <li>
          <i class="dot" /> {say("whole_light")}
        </li>
      </ul>
    </figure>
  );
}
