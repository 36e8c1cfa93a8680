// How a run went: its losses and its score, over the updates. The beginning is as wide as the end: log (1 + update).
import "./curves.css";
import { grouped, isWord, say, show } from "../words";
import type { Curve, Curves } from "../wire";

const WIDTH = 640,
  HEIGHT = 180,
  EDGE = 44;

interface Line {
  name: string;
  kind: "loss" | "dev" | "score" | "own";
  curve: Curve;
}

/** The name of a metric, as the page says it. */
function metricName(metric: string): string {
  const key = `metric_${metric}`;
  return isWord(key) ? say(key) : metric;
}

/** 1, 10, 100, … and what is drawn first, as far as the run went. */
function ticks(last: number): number[] {
  const found = [0];
  for (let step = 10; step <= last; step *= 10) found.push(step);
  return found;
}

/** `sentence`: the loss of the one that is looked at, at the checkpoints; `at`: the chosen one. */
export function CurvesOfRun(props: {
  curves: Curves | null;
  sentence: Curve;
  /** Whether that is the loss of a reference, and not of what the model wrote at each checkpoint. */
  reference: boolean;
  at: number | null;
  onChoose: (step: number) => void;
}) {
  const { curves, sentence } = props;
  const own: Line = { name: say(props.reference ? "sentence_loss" : "own_loss"), kind: "own", curve: sentence };
  const all: Line[] = curves
    ? [
        { name: say("training_loss"), kind: "loss", curve: curves.loss },
        { name: say("dev_loss"), kind: "dev", curve: curves.dev_loss },
        own,
        { name: say("dev_score", { metric: metricName(curves.metric) }), kind: "score", curve: curves.score },
      ]
    : [own];
  const lines = all.filter(({ curve }) => curve.steps.length > 0);
  if (lines.length === 0) return null;
  return (
    <figure class="curves">
      <figcaption>
        {lines.map(({ name, kind }) => (
          <span key={kind} class={kind}>
            {name}
          </span>
        ))}
      </figcaption>
      <Plot of={lines} at={props.at} onChoose={props.onChoose} />
      <details>
        <summary>{say("as_table")}</summary>
        <Table of={lines} />
      </details>
    </figure>
  );
}

/** The largest value of lines. */
const highest = (lines: Line[]) => Math.max(...lines.flatMap(({ curve }) => curve.values), 1e-9);

/** Losses have one scale, on the left, and the score has its own. */
function Plot({ of: lines, at, onChoose }: { of: Line[]; at: number | null; onChoose: (step: number) => void }) {
  const last = Math.max(...lines.map(({ curve }) => curve.steps.at(-1)!), 1);
  const scores = lines.filter(({ kind }) => kind === "score");
  const percent = highest(scores) > 1; // a share of lines, and not bits a byte
  const loss = highest(lines.filter(({ kind }) => kind !== "score"));
  const score = percent ? 100 : highest(scores);
  const x = (step: number) => EDGE + ((WIDTH - 2 * EDGE) * Math.log1p(step)) / Math.log1p(last);
  const y = (share: number) => 12 + (HEIGHT - 40) * (1 - share);
  const choose = (event: MouseEvent) => {
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    const share = (((event.clientX - box.left) / box.width) * WIDTH - EDGE) / (WIDTH - 2 * EDGE);
    onChoose(Math.expm1(Math.max(0, Math.min(1, share)) * Math.log1p(last)));
  };
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={say("curves")} onClick={choose}>
      <line class="axis" x1={EDGE} x2={WIDTH - EDGE} y1={y(0)} y2={y(0)} />
      <text x={EDGE - 6} y={y(1) + 4} text-anchor="end">
        {loss.toFixed(1)}
      </text>
      <text x={EDGE - 6} y={y(0) + 4} text-anchor="end">
        0
      </text>
      {scores.length > 0 && (
        <text class="score" x={WIDTH - EDGE + 6} y={y(1) + 4}>
          {percent ? "100" : score.toFixed(2)}
        </text>
      )}
      {ticks(last).map((step) => (
        <text key={step} x={x(step)} y={HEIGHT - 8} text-anchor="middle">
          {grouped(step)}
        </text>
      ))}
      {lines.map(({ kind, curve: { steps, values } }) => {
        const at = steps.map((step, k) => [x(step), y(values[k] / (kind === "score" ? score : loss))]);
        return (
          <g key={kind} class={kind}>
            <polyline points={at.map((point) => point.join()).join(" ")} />
            {kind !== "loss" &&
              at.map(([cx, cy], k) => (
                <circle key={steps[k]} cx={cx} cy={cy} r="2.5">
                  <title>{`${grouped(steps[k])}: ${show(values[k], 4)}`}</title>
                </circle>
              ))}
          </g>
        );
      })}
      {at !== null && <line class="now" x1={x(at)} x2={x(at)} y1={y(1)} y2={y(0)} />}
    </svg>
  );
}

function Table({ of: lines }: { of: Line[] }) {
  const steps = [...new Set(lines.flatMap(({ curve }) => curve.steps))].sort((a, b) => a - b);
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={say("curves")}>
      <table>
        <thead>
          <tr>
            <th scope="col">{say("step_of_training")}</th>
            {lines.map(({ name, kind }) => (
              <th scope="col" key={kind}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {steps.map((step) => (
            <tr key={step}>
              <th scope="row">{step}</th>
              {lines.map(({ kind, curve }) => (
                <td class="number" key={kind}>
                  {curve.values[curve.steps.indexOf(step)]?.toPrecision(4) ?? ""}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
