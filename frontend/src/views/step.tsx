// One step of decoding: what it is given, where it looks, and the distribution that it chooses from.
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { atStep, heads, stepOf } from "../attention";
import { css, dark, inkOn, shareColour } from "../colours";
import { again, begin, model, trace } from "../data";
import { indices, mean } from "../numbers";
import { Formula, Outcome, Slider } from "../parts";
import { widest } from "../pictures/canvas";
import { Distribution } from "../pictures/distribution";
import { alone, Save } from "../pictures/save";
import { labels } from "../pictures/tokens";
import { hasCross, select } from "../state";
import { useRoots } from "../use";
import { isolate, percent, say } from "../words";
import "./step.css";

const COLUMN = 58;

/** What goes into each step and what comes out of it; an arrow leads from an output to the next input. */
function Unrolled(props: { t: number }) {
  const drawing = useRef<SVGSVGElement>(null);
  const { decoder_in, target_out } = trace.value!.replay;
  const inputs = labels(decoder_in).slice(begin());
  const written = labels(target_out);
  const left = widest([say("target_out"), say("target_in")]) + 8;
  const x = (k: number) => left + (k + 0.5) * COLUMN;
  const wide = left + 10 + written.length * COLUMN;
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const { current } = box;
    if (current) current.scrollLeft = x(props.t + 1) - current.clientWidth; // a phone shows a part of it
  }, [props.t, wide]);
  const short = (name: string) => isolate(name.length > 7 ? `${name.slice(0, 6)}⋯` : name);
  return (
    <figure>
      <div class="scroll" ref={box} tabIndex={0} role="region" aria-label={say("written_next")}>
        <svg
          ref={drawing}
          class="unrolled"
          width={wide}
          viewBox={`0 0 ${wide} 130`}
          role="img"
          aria-label={say("written_next")}
        >
          <text x="0" y="30">
            {say("target_out")}
          </text>
          <text x="0" y="112">
            {say("target_in")}
          </text>
          {written.map((name, k) => (
            <g key={k} class={k === props.t ? "lit" : k > props.t ? "later" : ""} onClick={() => select(atStep(k))}>
              <rect
                class={k < trace.value!.given ? "given" : ""}
                x={x(k) - COLUMN / 2 + 3}
                y="12"
                width={COLUMN - 6}
                height="28"
                rx="4"
              />
              <text x={x(k)} y="31" text-anchor="middle">
                {short(name)}
              </text>
              <rect x={x(k) - COLUMN / 2 + 3} y="94" width={COLUMN - 6} height="28" rx="4" />
              <text x={x(k)} y="113" text-anchor="middle">
                {short(inputs[k])}
              </text>
              <line x1={x(k)} x2={x(k)} y1="94" y2="42" />
              {k + 1 < written.length && (
                <path
                  d={`M${x(k) + 12},40 C${x(k) + 24},70 ${x(k + 1) - 24},64 ${x(k + 1) - 8},92 m-7,-6 l7,6 l1,-9`}
                />
              )}
            </g>
          ))}
        </svg>
      </div>
      <figcaption class="tools">
        {say("written_next")} <Save name={say("view_step")} svg={() => drawing.current && alone(drawing.current)} />
      </figcaption>
    </figure>
  );
}

/** The source, each token coloured by its share in the cross-attention of this step. */
function Takes(props: { t: number }) {
  const layer = model.value!.config.decoder_layers - 1;
  const roots = useRoots(`decoder.${layer}.cross.weights`);
  const names = labels(trace.value!.source);
  const shares = useMemo(() => {
    const [n, rows] = [names.length, roots ? roots.length / heads() / names.length : 0];
    const share = (head: number, j: number) => (roots![(head * rows + props.t) * n + j] / 255) ** 2;
    return roots && names.map((_, j) => mean(indices(heads()).map((head) => share(head, j))));
  }, [roots, props.t, names]);
  if (!shares) return null;
  const shade = (j: number) => shareColour(Math.sqrt(shares[j]));
  return (
    <section data-dark={dark.value}>
      <p>
        <button type="button" class="link" onClick={() => select({ view: "cross", layer })}>
          {say("takes_from")}
        </button>
      </p>
      <p class="tokens">
        {names.map((name, j) => (
          <span
            class="token"
            key={j}
            title={percent(shares[j])}
            style={{ background: css(shade(j)), color: inkOn(shade(j)) }}
          >
            <bdi>{name}</bdi>
          </span>
        ))}
      </p>
    </section>
  );
}

export function StepView() {
  const now = trace.value!;
  const t = stepOf(now.replay.steps.length);
  const goOn = (id: number) => again({ prefix: [...now.replay.target_out.ids.slice(0, t), id] });
  return (
    <>
      <Slider
        title={say("step")}
        value={t}
        most={now.replay.steps.length - 1}
        onMove={(at) => select(atStep(at))}
        shown={`${t + 1} / ${now.replay.steps.length}`}
      />
      <Unrolled t={t} />
      {hasCross() && <Takes t={t} />}
      <Outcome />
      {t < now.given && <p>{say("token_is_given")}</p>}
      <Distribution
        step={now.replay.steps[t]}
        chosen={now.replay.target_out.ids[t]}
        title={say("top")}
        size={now.shapes.logits.at(-1)!}
        onChoose={goOn}
      />
      <Formula name="step" />
      <p class="explain">{say("may_write")}</p>
    </>
  );
}
