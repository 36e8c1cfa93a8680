// Colour-blind-safe, and nothing has the colour of the paper: one hue for shares (dark: the upper half of cividis,
// Nuñez et al. 2018), blue and orange for signed numbers.
import { signal } from "@preact/signals";
import { options } from "preact";

type Colour = [number, number, number];

const LIGHT = {
  shares: [
    [255, 255, 255],
    [198, 219, 239],
    [107, 174, 214],
    [33, 113, 181],
    [8, 48, 107],
  ],
  signed: [
    [5, 80, 150],
    [90, 150, 200],
    [255, 255, 255],
    [235, 165, 90],
    [180, 80, 0],
  ],
} satisfies Record<string, Colour[]>;
const DARK = {
  shares: [
    [20, 23, 27],
    [57, 72, 107],
    [138, 134, 120],
    [195, 182, 105],
    [255, 234, 70],
  ],
  signed: [
    [140, 200, 255],
    [50, 105, 165],
    [20, 23, 27],
    [165, 95, 30],
    [255, 180, 95],
  ],
} satisfies Record<string, Colour[]>;

const scheme = matchMedia("(prefers-color-scheme: dark)");
/** Whether the paper is dark: who draws on a canvas draws again when it changes. */
export const dark = signal(scheme.matches);
scheme.addEventListener("change", () => {
  dark.value = scheme.matches;
});

/** Whether it is drawn for a print. */
export const paper = signal(false);

/** Paper is white, whatever the screen is: before it is printed, all is drawn again, without waiting for a frame. */
function print(begins: boolean): void {
  document.documentElement.classList.toggle("paper", begins);
  options.requestAnimationFrame = begins ? queueMicrotask : undefined;
  paper.value = begins;
  dark.value = !begins && scheme.matches;
}
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));

function between(stops: Colour[], share: number): Colour {
  const place = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  const mixed = (c: 0 | 1 | 2) => stops[low][c] + (place - low) * (stops[low + 1][c] - stops[low][c]);
  return [mixed(0), mixed(1), mixed(2)];
}

/** `root`: the square root of a share in [0, 1]. */
export const shareColour = (root: number) => between((dark.value ? DARK : LIGHT).shares, root);
/** `value` in [-1, 1]. */
export const signedColour = (value: number) => between((dark.value ? DARK : LIGHT).signed, (value + 1) / 2);
/** Of what is hidden, and has no number. */
export const hiddenColour = (): Colour => (dark.value ? [70, 74, 82] : [187, 187, 187]);

export const css = ([r, g, b]: Colour) => `rgb(${r.toFixed(0)},${g.toFixed(0)},${b.toFixed(0)})`;
/** Of letters on this colour: the one of two that has the larger contrast (WCAG's relative luminance). */
export function inkOn(colour: Colour): string {
  const [r, g, b] = colour.map((part) => (part / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}
