// A vector as a strip of colours.
import { useEffect, useRef } from "preact/hooks";
import { dark, signedColour } from "../colours";
import { show } from "../words";
import { largest, paint } from "./canvas";

/** One vector as a strip of signed colours, by `most` or by its own largest number; pointing at it shows a number. */
export function Strip(props: { values: Float32Array; title: string; most?: number; tall?: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { values, title } = props;
  const { buffer, byteOffset, length } = values;
  const most = props.most ?? largest(values);
  useEffect(() => {
    const colour = (k: number) => signedColour(values[k] / most);
    if (props.tall) paint(canvas.current!, length, 1, colour);
    else paint(canvas.current!, 1, length, colour);
  }, [buffer, byteOffset, length, most, props.tall, dark.value]);
  const point = (event: MouseEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    const share = props.tall ? (event.clientY - box.top) / box.height : (event.clientX - box.left) / box.width;
    const k = Math.max(0, Math.min(length - 1, Math.floor(share * length)));
    canvas.current!.title = `${title} [${k}] = ${show(values[k], 4)}`;
  };
  return (
    <canvas
      ref={canvas}
      class={props.tall ? "strip tall" : "strip"}
      role="img"
      aria-label={`${title}: ±${show(most)}`}
      title={title}
      onMouseMove={point}
    />
  );
}
