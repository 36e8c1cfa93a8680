// What is seen, as a file.
import { say } from "../words";
import "./save.css";

const STYLED = [
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-width",
  "stroke-opacity",
  "stroke-dasharray",
  "opacity",
  "visibility",
  "image-rendering",
  "text-decoration",
  "paint-order",
  "font-family",
  "font-size",
  "font-style",
  "font-weight",
  "text-anchor",
];

/** An SVG of the page by itself: the style sheet's rules become its own. */
export function alone(drawn: SVGSVGElement): string {
  const copy = drawn.cloneNode(true) as SVGSVGElement;
  const [from, to] = [
    [drawn, ...drawn.querySelectorAll("*")],
    [copy, ...copy.querySelectorAll("*")],
  ];
  from.forEach((each, k) => {
    const style = getComputedStyle(each);
    for (const name of STYLED) to[k].setAttribute(name, style.getPropertyValue(name));
  });
  const { width, height } = drawn.getBoundingClientRect();
  copy.setAttribute("width", String(width));
  copy.setAttribute("height", String(height));
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return new XMLSerializer().serializeToString(copy);
}

/** All that is drawn within an element, each where it is seen. */
export function together(box: Element): string {
  const around = box.getBoundingClientRect();
  const found = [...box.querySelectorAll<SVGSVGElement | HTMLCanvasElement>("svg, canvas")].map((each) => {
    const { left, top, width, height } = each.getBoundingClientRect();
    const content =
      each instanceof HTMLCanvasElement
        ? `<image href="${each.toDataURL()}" width="${width}" height="${height}"/>`
        : alone(each);
    return `<g transform="translate(${left - around.left},${top - around.top})">${content}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${around.width}" height="${around.height}">${found.join("")}</svg>`;
}

export const escaped = (text: string) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** Rows of cells as CSV. A cell that a spreadsheet would take for a formula is a text. */
export const csvOf = (rows: (string | number)[][]) =>
  rows
    .map((row) =>
      row
        .map((cell) => {
          if (typeof cell === "number") return String(cell);
          return `"${(/^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell).replaceAll('"', '""')}"`;
        })
        .join(","),
    )
    .join("\n");

/** Vectors with their names, a row each. */
export const vectorsCsv = (vectors: [string, ArrayLike<number>][]) =>
  csvOf(vectors.map(([title, values]) => [title, ...Array.from(values)]));

function download(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** An SVG on the paper of the page, twice as large. */
function png(svg: string, done: (content: Blob) => void): void {
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
    const context = canvas.getContext("2d")!;
    context.fillStyle = getComputedStyle(document.body).backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((content) => content && done(content));
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
}

/** Buttons that save a picture, and the numbers in it where there are some. */
export function Save(props: { name: string; svg: (() => string | null) | null; csv?: (() => string) | null }) {
  const file = props.name.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "zhuyi";
  const drawn = (then: (svg: string) => void) => () => {
    const svg = props.svg?.();
    if (svg) then(svg);
  };
  const button = (kind: string, act: () => void) => (
    <button type="button" class="link" aria-label={say("save_as", { kind, name: props.name })} onClick={act}>
      {kind}
    </button>
  );
  return (
    <span class="save">
      {props.svg &&
        button(
          "PNG",
          drawn((svg) => png(svg, (content) => download(`${file}.png`, content))),
        )}
      {props.svg &&
        button(
          "SVG",
          drawn((svg) => download(`${file}.svg`, new Blob([svg], { type: "image/svg+xml" }))),
        )}
      {props.csv &&
        button("CSV", () => download(`${file}.csv`, new Blob(["\ufeff", props.csv!()], { type: "text/csv" })))}
    </span>
  );
}
