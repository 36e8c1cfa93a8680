// A vector as a strip of colours.
import { useEffect, useRef } from "preact/hooks";
import { signedColour } from "../colours";
import { paint } from "./canvas";

/** One vector as a strip of signed colours. */
export function Strip(props: { values: Float32Array; title: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { buffer, byteOffset, length } = props.values;
  useEffect(() => {
    const largest = props.values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
    paint(canvas.current!, 1, props.values.length, (k) => signedColour(props.values[k] / largest));
  }, [buffer, byteOffset, length]);
  return <canvas ref={canvas} class="strip" role="img" aria-label={props.title} title={props.title} />;
}
