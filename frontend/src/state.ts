// The selection lives in the address, so that every view is a link.
import { signal } from "@preact/signals";

const DEFAULTS = {
  view: "input", stack: "encoder", layer: "0", kind: "self", head: "0", i: "0", j: "0", d: "0", t: "0", checkpoint: "",
  lang: navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en", notation: "lecture", text: "", target: "",
};
type Key = keyof typeof DEFAULTS;
export type Change = Partial<Record<Key, string | number>>;

function read(): Record<Key, string> {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  return { ...DEFAULTS, ...given };
}

export const selection = signal(read());
addEventListener("hashchange", () => { selection.value = read(); });

let writing = 0;

function write(): void {
  const words = Object.entries(selection.value).filter(([key, value]) => value !== DEFAULTS[key as Key] || key === "lang");
  try {
    history.replaceState(null, "", `#${new URLSearchParams(words)}`);
  } catch { /* a notebook's frame has no address of its own */ }
}

export function select(change: Change): void {
  const next = { ...selection.value };
  for (const [key, value] of Object.entries(change)) next[key as Key] = String(value);
  selection.value = next;
  clearTimeout(writing);
  writing = setTimeout(write, 200); // a browser refuses a new address for every movement of the mouse
}

export function number(key: Key, below: number): number {
  const value = Number.parseInt(selection.value[key], 10) || 0;
  return Math.max(0, Math.min(value, below - 1));
}

/** The canonical name of the attention that is selected. */
export function place(): string {
  const { stack, layer, kind } = selection.value;
  return `${stack}.${layer}.${stack === "encoder" ? "self" : kind}`;
}
