// What pictures that are drawn on a canvas share.
import { computed, signal } from "@preact/signals";

const size = signal({ width: innerWidth, height: innerHeight });
addEventListener("resize", () => {
  size.value = { width: innerWidth, height: innerHeight };
});

/** Pixels of the window that the tour covers, at its lower edge. */
export const covered = signal(0);

/** What is left of the window: pictures are as large as it allows. */
export const viewport = computed(() => ({ width: size.value.width, height: size.value.height - covered.value }));

const pen = document.createElement("canvas").getContext("2d")!;

/** The width of the longest of these in pixels, written bold. */
export function widest(names: string[]): number {
  pen.font = "bold 13px system-ui, sans-serif";
  return names.reduce((most, name) => Math.max(most, pen.measureText(name).width), 0);
}

/** One pixel a cell; the style sheet makes it larger without smoothing. */
export function paint(canvas: HTMLCanvasElement, rows: number, columns: number, colour: (k: number) => number[]): void {
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  for (let k = 0; k < rows * columns; k++) {
    const [red, green, blue] = colour(k);
    image.data.set([red, green, blue, 255], 4 * k);
  }
  canvas.getContext("2d")!.putImageData(image, 0, 0);
}

/** The largest size among these numbers; what is infinite has none. */
export function largest(...all: (ArrayLike<number> | null | undefined)[]): number {
  let most = 1e-9;
  for (const numbers of all)
    for (let k = 0; k < (numbers?.length ?? 0); k++) {
      const size = Math.abs(numbers![k]);
      if (size > most && size < Infinity) most = size;
    }
  return most;
}
