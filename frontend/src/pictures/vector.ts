// Vectors within an SVG: an image of one pixel a number.
import { signedColour, dark } from "../colours";
import { paint } from "./canvas";

const drawn = new Map<string, string>();
const canvas = document.createElement("canvas");

function image(values: Float32Array, most: number, name: string, tall: boolean): string {
  const key = `${name} ${most} ${tall} ${dark.value}`;
  const known = drawn.get(key);
  if (known) return known;
  if (drawn.size > 2000) drawn.clear();
  paint(canvas, tall ? values.length : 1, tall ? 1 : values.length, (k) => signedColour(values[k] / most));
  const address = canvas.toDataURL();
  drawn.set(key, address);
  return address;
}

/** A column of colours as the address of an image; `name` says which numbers they are. */
export const column = (values: Float32Array, most: number, name: string) => image(values, most, name, true);
/** The same as a row. */
export const row = (values: Float32Array, most: number, name: string) => image(values, most, name, false);
