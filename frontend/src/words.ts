import en from "./en.json";
import zh from "./zh.json";
import { selection } from "./state";

export type Word = keyof typeof en;
export const isWord = (key: string): key is Word => key in en;

/** The words of the page in the chosen language; {name} is replaced. */
export function say(key: Word, values: Record<string, string | number> = {}): string {
  const text = (selection.value.lang === "zh" ? zh : en)[key];
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Sentences, one after another: between Chinese ones there is no space. */
export const join = (sentences: string[]) => sentences.join(selection.value.lang === "zh" ? "" : " ");

export const show = (value: number, digits = 3) =>
  value === -Infinity ? "−∞" : value.toFixed(digits).replace("-", "−");
export const percent = (value: number) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;
