// Sinusoidal positions: one coordinate as a curve over the positions, and all of them.
import { useMemo, useRef } from "preact/hooks";
import { model } from "../../data";
import { sinusoid, tensor2tensor } from "../../model/network/positions";
import { Formula, Slider } from "../../parts";
import { alone, csvOf, Save } from "../../pictures/save";
import { number, select } from "../../state";
import { ordinal, say, show } from "../../words";
import { Added } from "./added";
import type { DrawingProps } from "./drawing";
import "./sinusoid.css";

export const Sinusoidal = (props: DrawingProps) => (
  <Sinusoids {...props} formula="sinusoid" period={model.value!.config.width} />
);

export const Tensor2Tensor = (props: DrawingProps) => (
  <Sinusoids {...props} formula="tensor2tensor" period={tensor2tensor(model.value!.config.width)} />
);

function Sinusoids(props: DrawingProps & { formula: "sinusoid" | "tensor2tensor"; period: number }) {
  const { width } = model.value!.config;
  const { period } = props;
  const c = number("c", width);
  const encoding = useMemo(
    () =>
      Float32Array.from({ length: props.names.length * width }, (_, k) =>
        sinusoid(Math.floor(k / width), k % width, period),
      ),
    [props.names, width, period],
  );
  return (
    <>
      <Formula name={props.formula} />
      <Slider title={say("coordinate")} value={c} most={width - 1} onMove={(to) => select({ c: to })} />
      <Curve c={c} i={props.i} length={props.names.length} period={period} />
      <Added {...props} encoding={encoding} />
    </>
  );
}

const [CURVE_WIDTH, CURVE_HEIGHT] = [640, 110];

/** One coordinate of the encoding, and the next one of its kind, over all positions. */
function Curve(props: { c: number; i: number; length: number; period: number }) {
  const drawing = useRef<SVGSVGElement>(null);
  const { c, i } = props;
  const { width } = model.value!.config;
  const most = Math.max(props.length - 1, 63);
  const x = (position: number) => 10 + (position / most) * (CURVE_WIDTH - 20);
  const y = (value: number) => CURVE_HEIGHT / 2 - value * (CURVE_HEIGHT / 2 - 12);
  const line = (coordinate: number) =>
    Array.from(
      { length: 4 * most + 1 },
      (_, k) => `${k ? "L" : "M"}${x(k / 4).toFixed(1)},${y(sinusoid(k / 4, coordinate, props.period)).toFixed(1)}`,
    ).join("");
  const value = sinusoid(i, c, props.period);
  return (
    <figure class="curve">
      <svg
        ref={drawing}
        viewBox={`0 0 ${CURVE_WIDTH} ${CURVE_HEIGHT}`}
        role="img"
        aria-label={say("curve", { c, i, value: show(value) })}
      >
        <line class="axis" x1="0" x2={CURVE_WIDTH} y1={y(0)} y2={y(0)} />
        {c + 2 < width && <path class="next" d={line(c + 2)} />}
        <path d={line(c)} />
        <line class="here" x1={x(i)} x2={x(i)} y1="0" y2={CURVE_HEIGHT} />
        <circle cx={x(i)} cy={y(value)} r="5" />
      </svg>
      <figcaption>
        {say("curve", { c, i, value: show(value) })}
        <Save
          name={say("positions_sinusoidal")}
          svg={() => drawing.current && alone(drawing.current)}
          csv={() =>
            csvOf(
              Array.from({ length: most + 1 }, (_, position) => [
                ordinal(position),
                sinusoid(position, c, props.period),
              ]),
            )
          }
        />
      </figcaption>
    </figure>
  );
}
