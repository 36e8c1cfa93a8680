import en from "./en.json";
import zh from "./zh.json";
import type { Problem } from "./refusal";
import { inColumns, selection } from "./state";
import type { Architecture } from "./wire";

export type Word = keyof typeof en;
export const isWord = (key: string): key is Word => key in en;

/** Letters of right-to-left scripts, and marks that turn the direction of a line. */
const TURNS = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

/** A text of the user within another text, or within a picture: it cannot turn what stands around it. In HTML, bdi does so. */
export const isolate = (text: string) =>
  TURNS.test(text) ? `\u2068${text.replace(/[\u2066-\u2069]/g, "")}\u2069` : text;

/** What the first and the last token of a target are called. */
const ends = () => (inColumns() ? { begin: "BEGIN", end: "END" } : { begin: "BOS", end: "EOS" });

export const quoted = (text: string) => `“${isolate(text)}”`;

/** The words of the page in the chosen language; {name} is replaced. */
export function say(key: Word, values: Record<string, string | number> = {}): string {
  const text = (selection.value.lang === "zh" ? zh : en)[key];
  const all: Record<string, string | number> = { ...ends(), ...values };
  return text.replace(/\{(\w+)\}/g, (_, name) => isolate(String(all[name] ?? "")));
}

/** Why a question was not answered. */
export const reason = ({ code, values, error }: Problem) => say(`failed_${code}`, { ...values, error });

/** Sentences, one after another: between Chinese ones there is no space. */
export const join = (sentences: string[]) => sentences.join(selection.value.lang === "zh" ? "" : " ");

/** The parts of an enumeration. */
export const list = (parts: string[]) => parts.join(selection.value.lang === "zh" ? "、" : ", ");

/** The parts that a model was trained without. */
export const lacking = (parts: Architecture["without"]) => list(parts.map((part) => say(`lack_${part}`)));

/** The sign that is as wide as a digit. */
const signed = (text: string) => text.replace(/^-/, "−");

/** With so many decimals, two at least; what is too small for them, with two significant digits: 2.1e-6. */
export function show(value: number, decimals = 3): string {
  if (value === -Infinity) return "−∞";
  if (value === 0) return "0"; // −0 too
  return signed(Math.abs(value) < 10 ** Math.min(2 - decimals, -1) ? value.toExponential(1) : value.toFixed(decimals));
}

/** As short as a cell of a picture wants it. */
export function brief(value: number): string {
  if (value === -Infinity) return "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return signed(size < 0.005 ? value.toExponential(0) : value.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0));
}

export function percent(share: number): string {
  const size =
    share === 0 ? "0" : share < 0.001 ? (100 * share).toExponential(1) : (100 * share).toFixed(share < 0.0995 ? 1 : 0);
  return `${size}\u202f%`; // a line is not broken there
}

/** A large whole number, its digits in groups: as in English, so in Chinese. */
export const grouped = (n: number) => n.toLocaleString("en");

/** Layers, heads and coordinates count from 0, as in the names of values; positions from 1 in the lecture. */
export const ordinal = (k: number) => (inColumns() ? k + 1 : k);

/** A whole number as it stands above a letter. */
export const raised = (n: number) => String(n).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
