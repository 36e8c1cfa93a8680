// What cuts a normalised line into words, which tokens do not cross.
import { spell, WORDS } from "./bytelevel";
import { regex } from "./normalizer";

/** From a line or a part of it to its parts. */
type Cut = (text: string) => string[];

export type PreTokenizer =
  | { type: "Sequence"; pretokenizers: PreTokenizer[] }
  | { type: "Metaspace"; replacement: string; prepend_scheme: "always" | "never"; split: boolean }
  | { type: "Digits"; individual_digits: boolean }
  | { type: "ByteLevel"; add_prefix_space: boolean }
  | { type: "Split"; pattern: { Regex: string }; behavior: Behavior; invert: boolean };
type Behavior = "Isolated" | "Removed" | "MergedWithPrevious";

export function preTokenizerOf(made: PreTokenizer | null): Cut {
  if (!made) return (text) => [text];
  switch (made.type) {
    case "Sequence": {
      const cuts = made.pretokenizers.map(preTokenizerOf);
      return (text) => cuts.reduce((parts, cut) => parts.flatMap(cut), [text]);
    }
    case "Metaspace": {
      // a word has the space before it; the first one too, unless the scheme is never
      const { replacement, prepend_scheme, split } = made;
      return (text) => {
        const marked = text.replaceAll(" ", replacement);
        const has = prepend_scheme === "never" || marked.startsWith(replacement);
        const all = has ? marked : replacement + marked;
        return split ? all.split(regex(`(?=${replacement})`, "u")) : [all];
      };
    }
    case "Digits":
      return isolate(made.individual_digits ? /\p{N}/gu : /\p{N}+/gu);
    case "ByteLevel": {
      const words = isolate(regex(WORDS));
      const begin = made.add_prefix_space ? " " : "";
      return (text) => words(text.startsWith(begin) ? text : begin + text).map(spell);
    }
    case "Split": {
      const pattern = regex(made.pattern.Regex);
      if (made.behavior === "MergedWithPrevious") return after(pattern);
      return made.invert ? only(pattern) : isolate(pattern);
    }
  }
}

/** Each match is a part, and so is what stands between two. */
function isolate(pattern: RegExp): Cut {
  return (text) => {
    const parts: string[] = [];
    let end = 0;
    for (const { 0: match, index } of text.matchAll(pattern)) {
      parts.push(text.slice(end, index), match);
      end = index + match.length;
    }
    return [...parts, text.slice(end)].filter((part) => part);
  };
}

/** The matches alone. */
const only =
  (pattern: RegExp): Cut =>
  (text) =>
    Array.from(text.matchAll(pattern), ([match]) => match);

/** A part ends with each match. */
const after =
  (pattern: RegExp): Cut =>
  (text) => {
    const ends = Array.from(text.matchAll(pattern), ({ 0: match, index }) => index + match.length);
    return [0, ...ends].map((start, k) => text.slice(start, ends[k])).filter((part) => part);
  };
