// A vector as a strip of colours.
import { useEffect, useRef } from "preact/hooks";
import { dark, signedColour } from "../colours";
import { clamp } from "../state";
import { show } from "../words";
import { largest, paint } from "./canvas";
import "./strip.css";

/** One vector as a strip of signed colours, by `most` or by its own largest number; pointing at it shows a number. */
export function Strip(props: { values: Float32Array; title: string; most?: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { values, title } = props;
  const { buffer, byteOffset, length } = values;
  const most = props.most ?? largest(values);
  useEffect(() => {
    paint(canvas.current!, 1, length, (k) => signedColour(values[k] / most));
  }, [buffer, byteOffset, length, most, dark.value]);
  const point = (event: MouseEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    const k = clamp(Math.floor(((event.clientX - box.left) / box.width) * length), length);
    canvas.current!.title = `${title} [${k}] = ${show(values[k], 4)}`;
  };
  return (
    <canvas
      ref={canvas}
      class="strip"
      role="img"
      aria-label={`${title}: ±${show(most)}`}
      title={title}
      onMouseMove={point}
    />
  );
}
