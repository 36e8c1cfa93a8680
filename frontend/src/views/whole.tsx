// The whole model as one running picture: a token is fed, light travels up, and the answer grows.
import { useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { model, tokensOf, trace, writes } from "../data";
import { projector } from "../keys";
import { useRoom } from "../pictures/room";
import { csvOf, Save, together } from "../pictures/save";
import { labels } from "../pictures/tokens";
import { hasCross, select, selection } from "../state";
import { arrange, type Size } from "../whole/arrange";
import { Ground } from "../whole/ground";
import { described, viewOf } from "../whole/parts";
import { useRunning } from "../whole/running";
import type { Scene } from "../whole/scene";
import { type Looked, Signs } from "../whole/signs";
import { Transport } from "../whole/transport";
import { isolate, lacking, ordinal, say } from "../words";
import "./whole.css";

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
  const picture = useRef<HTMLDivElement>(null);
  const looked = useSignal<Looked | null>(null);
  const running = useRunning(drawn, box, looked.value);
  const { scene, clock, caption, printed } = running;
  const rolled = drawn?.plan.towers[0].side === "inside";
  const press = (event: KeyboardEvent) => {
    if (event.key !== " " || (event.target as Element).matches("input, select, button, [role=button]")) return;
    event.preventDefault();
    event.stopPropagation();
    running.play();
  };
  return (
    <figure class="whole" onKeyDown={press}>
      <Transport
        clock={clock}
        slider={running.slider}
        end={running.ends}
        caption={caption.value}
        onPlay={running.play}
        onStep={running.move}
        onToken={running.nextStep}
        onSeek={running.seek}
      />
      <p class="narration" aria-live={clock.playing.value ? "off" : "polite"}>
        {caption.value}
      </p>
      <Lacks />
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
              ref={running.canvas}
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
              looked={looked.value}
              onLook={(next) => {
                looked.value = next;
              }}
              onOpen={(row, stack) => {
                running.settle();
                select(viewOf(row, stack));
              }}
              onStep={running.seekStep}
            />
          </div>
        )}
      </div>
      <Info of={looked.value} />
      <p class="hint">
        {say(hasCross() ? "whole_hint" : "whole_hint_one")}
        <Save
          name={say("view_whole")}
          svg={() => picture.current && together(picture.current)}
          csv={() => probabilities(scene!)}
        />
      </p>
      <Colours />
    </figure>
  );
}

/** What the model was trained without. */
function Lacks() {
  const { without } = model.value!.config;
  if (without.length === 0) return null;
  return <p class="lack">{say("whole_lacks", { parts: lacking(without) })}</p>;
}

/** The name of what one points at. */
function Info({ of }: { of: Looked | null }) {
  const name = of?.row
    ? described(of.row, of.stack)
    : of?.position != null
      ? `${ordinal(of.position)} · ${isolate(labels(tokensOf(of.stack))[of.position])}`
      : "";
  return (
    <p class="info" data-info>
      {name && <span>{name}</span>}
    </p>
  );
}

/** The most probable tokens of each step. */
const probabilities = ({ top, chosen }: Scene) =>
  csvOf([
    [say(writes() ? "step" : "position"), say("token"), "p", say("is_chosen")],
    ...top.flatMap((step, t) => step.map(({ text, p }, k) => [ordinal(t), text, p, k === chosen[t] ? 1 : 0])),
  ]);

/** What the colours mean. */
function Colours() {
  const { heads } = model.value!.config;
  return (
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
  );
}
