import en from "./en.json";
import zh from "./zh.json";
import { inColumns, selection } from "./state";

export type Word = keyof typeof en;
export const isWord = (key: string): key is Word => key in en;

/** Letters of right-to-left scripts, and marks that turn the direction of a line. */
const TURNS = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

/** A text of the user within another text, or within a picture: it cannot turn what stands around it. In HTML, bdi does so. */
export const isolate = (text: string) =>
  TURNS.test(text) ? `\u2068${text.replace(/[\u2066-\u2069]/g, "")}\u2069` : text;

/** What the first and the last token of a target are called. */
const ends = () => (inColumns() ? { begin: "BEGIN", end: "END" } : { begin: "BOS", end: "EOS" });

/** The words of the page in the chosen language; {name} is replaced. */
export function say(key: Word, values: Record<string, string | number> = {}): string {
  const text = (selection.value.lang === "zh" ? zh : en)[key];
  const all: Record<string, string | number> = { ...ends(), ...values };
  return text.replace(/\{(\w+)\}/g, (_, name) => isolate(String(all[name] ?? "")));
}

/** Sentences, one after another: between Chinese ones there is no space. */
export const join = (sentences: string[]) => sentences.join(selection.value.lang === "zh" ? "" : " ");

export const show = (value: number, digits = 3) =>
  value === -Infinity ? "−∞" : value.toFixed(digits).replace("-", "−");
export const percent = (value: number) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;
