// How a run went: its losses and its score, over the updates. The beginning is as wide as the end: log (1 + update).
import "./curves.css";
import { isWord, say } from "../words";
import type { Curve, Curves } from "../wire";

const WIDTH = 640,
  HEIGHT = 180,
  EDGE = 44;

interface Line {
  name: string;
  kind: "loss" | "dev" | "score" | "own";
  curve: Curve;
  /** The value at the top of the picture. */
  most: number;
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

const NONE: Curves = {
  loss: { steps: [], values: [] },
  dev_loss: { steps: [], values: [] },
  metric: "",
  score: { steps: [], values: [] },
};

/** `sentence`: the loss of the one that is looked at, at the checkpoints; `at`: the chosen one. */
export function CurvesOfRun(props: {
  curves: Curves | null;
  sentence: Curve;
  /** Whether that is the loss of a reference, and not of what the model wrote at each checkpoint. */
  reference: boolean;
  at: number | null;
  onChoose: (step: number) => void;
}) {
  const { sentence } = props;
  const { loss, dev_loss, metric, score } = props.curves ?? NONE;
  const last = Math.max(...[loss, dev_loss, score, sentence].map(({ steps }) => steps.at(-1) ?? 0), 1);
  const highest = Math.max(...loss.values, ...dev_loss.values, ...sentence.values, 1e-9);
  const x = (step: number) => EDGE + ((WIDTH - 2 * EDGE) * Math.log1p(step)) / Math.log1p(last);
  const y = (share: number) => 12 + (HEIGHT - 40) * (1 - share);
  const percent = Math.max(...score.values, 1) > 1; // a share of lines, and not bits a byte
  const top = percent ? 100 : Math.max(...score.values, 0);
  const all: Line[] = [
    { name: say("training_loss"), kind: "loss", curve: loss, most: highest },
    { name: say("dev_loss"), kind: "dev", curve: dev_loss, most: highest },
    { name: say(props.reference ? "sentence_loss" : "own_loss"), kind: "own", curve: sentence, most: highest },
    { name: say("dev_score", { metric: metricName(metric) }), kind: "score", curve: score, most: top },
  ];
  const lines = all.filter(({ curve }) => curve.steps.length > 0);
  if (lines.length === 0) return null;
  const choose = (event: MouseEvent) => {
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    const share = (((event.clientX - box.left) / box.width) * WIDTH - EDGE) / (WIDTH - 2 * EDGE);
    props.onChoose(Math.expm1(Math.max(0, Math.min(1, share)) * Math.log1p(last)));
  };
  return (
    <figure class="curves">
      <figcaption>
        {lines.map(({ name, kind }) => (
          <span key={kind} class={kind}>
            {name}
          </span>
        ))}
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={say("curves")} onClick={choose}>
        <line class="axis" x1={EDGE} x2={WIDTH - EDGE} y1={y(0)} y2={y(0)} />
        <text x={EDGE - 6} y={y(1) + 4} text-anchor="end">
          {highest.toFixed(1)}
        </text>
        <text x={EDGE - 6} y={y(0) + 4} text-anchor="end">
          0
        </text>
        {lines.some(({ kind }) => kind === "score") && (
          <text class="score" x={WIDTH - EDGE + 6} y={y(1) + 4}>
            {percent ? "100" : top.toFixed(2)}
          </text>
        )}
        {ticks(last).map((step) => (
          <text key={step} x={x(step)} y={HEIGHT - 8} text-anchor="middle">
            {step.toLocaleString()}
          </text>
        ))}
        {lines.map(({ kind, curve, most }) => (
          <g key={kind} class={kind}>
            <polyline points={curve.steps.map((step, k) => `${x(step)},${y(curve.values[k] / most)}`).join(" ")} />
            {kind !== "loss" &&
              curve.steps.map((step, k) => (
                <circle key={step} cx={x(step)} cy={y(curve.values[k] / most)} r="2.5">
                  <title>{`${step}: ${curve.values[k]}`}</title>
                </circle>
              ))}
          </g>
        ))}
        {props.at !== null && <line class="now" x1={x(props.at)} x2={x(props.at)} y1={y(1)} y2={y(0)} />}
      </svg>
      <details>
        <summary>{say("as_table")}</summary>
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
              {[...new Set(lines.flatMap(({ curve }) => curve.steps))]
                .sort((a, b) => a - b)
                .map((step) => (
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
      </details>
    </figure>
  );
}
