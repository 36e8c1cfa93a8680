// The selection lives in the address, so that every view is a link.
import { signal } from "@preact/signals";
import { model } from "./data";

/** `d` is a coordinate of a head, `c` one of the model's own width: these are different spaces. `if` is what `changes` says. */
const DEFAULTS = {
  view: "whole",
  stack: "encoder",
  layer: "0",
  kind: "self",
  head: "0",
  i: "0",
  j: "0",
  d: "0",
  c: "0",
  t: "0",
  checkpoint: "",
  lang: navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en",
  notation: "lecture",
  text: "",
  target: "",
  if: "",
  tour: "",
};
type Key = keyof typeof DEFAULTS;
export type Change = Partial<Record<Key, string | number>>;

/** A file says what it opens with, where the address names no sentence. */
const opening = Object.fromEntries(new URLSearchParams(document.getElementById("page")!.dataset.opening));

function read(): Record<Key, string> {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  return { ...DEFAULTS, ...(given.text ? {} : opening), ...given };
}

export const selection = signal(read());
let writing = 0;
/** The address as it was last read or written here. If it is another one, the user has just given it: it is kept. */
let known = location.hash;

addEventListener("hashchange", () => {
  clearTimeout(writing);
  known = location.hash;
  selection.value = read();
});

/** `turn`: Back leads from here to what was shown before. */
function write(turn = false): void {
  clearTimeout(writing);
  if (location.hash !== known) return; // hashchange is on its way
  const words = Object.entries(selection.value).filter(
    ([key, value]) => value !== DEFAULTS[key as Key] || key === "lang",
  );
  try {
    history[turn ? "pushState" : "replaceState"](null, "", `#${new URLSearchParams(words)}`);
    known = location.hash;
  } catch {
    /* a notebook's frame has no address of its own */
  }
}

export function select(change: Change): void {
  const next = { ...selection.value };
  for (const [key, value] of Object.entries(change)) next[key as Key] = String(value);
  const turns = next.view !== selection.value.view;
  if (turns) write(); // where Back leads
  selection.value = next;
  if (turns) write(true);
  clearTimeout(writing);
  writing = setTimeout(write, 200); // a browser refuses a new address for every movement of the mouse
}

/** Whether something else than the default is selected. */
export const given = (key: Key) => selection.value[key] !== DEFAULTS[key];

/** A whole number from 0 up to this. */
export const clamp = (value: number, below: number) => Math.max(0, Math.min(below - 1, value));

export function number(key: Key, below: number): number {
  const value = Number.parseInt(selection.value[key], 10) || 0;
  return clamp(value, below);
}

/** Whether vectors are columns. */
export const inColumns = () => selection.value.notation !== "torch";

export type Stack = "encoder" | "decoder";
const STACKS = { "encoder-decoder": ["encoder", "decoder"], decoder: ["decoder"], encoder: ["encoder"] } as const;

/** The stacks of the model's shape; the first one reads the source. */
export const stacks = (): readonly Stack[] => STACKS[model.value!.config.shape];
/** Whether a decoder asks and an encoder answers. */
export const hasCross = () => stacks().length > 1;

/** The attention that is selected, and its canonical name; the address may ask for what this model has not. */
export function place() {
  const stack = stacks().find((each) => each === selection.value.stack) ?? stacks()[0];
  const kind = hasCross() && stack === "decoder" && selection.value.kind === "cross" ? "cross" : "self";
  const layer = number("layer", model.value!.config[`${stack}_layers`]);
  return { stack, kind, layer, name: `${stack}.${layer}.${kind}` } as const;
}
