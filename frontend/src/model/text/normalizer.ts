// The normal form of a line, as the library `tokenizers` makes it: lower case, NFC, one space for each run of white space.

import { characterMap } from "./charactermap";

type Function = (text: string) => string;
export type Pattern = { Regex: string } | { String: string };

export type Normalizer =
  | { type: "Sequence"; normalizers: Normalizer[] }
  | { type: "Lowercase" | "NFC" }
  | { type: "Precompiled"; precompiled_charsmap: string }
  | { type: "Replace"; pattern: Pattern; content: string }
  | { type: "Strip"; strip_left: boolean; strip_right: boolean };

/**
 * A pattern in the syntax of Oniguruma, which the library uses. Only white space differs: to JavaScript's `\s`, U+FEFF
 * is one and U+0085 is none; and the flag with which a dot matches line breaks.
 */
export function regex(pattern: string, flags = "gu"): RegExp {
  const translated = pattern
    .replaceAll("(?m:.)", "[^]")
    .replaceAll("\\A", "^")
    .replaceAll("\\z", "$")
    .replaceAll("\\s", "\\p{White_Space}")
    .replaceAll("\\S", "\\P{White_Space}");
  return new RegExp(translated, flags);
}

/** Every match becomes `content`. */
export function replacing(pattern: Pattern, content: string): Function {
  const searched = "Regex" in pattern ? regex(pattern.Regex) : pattern.String;
  return (text) => text.replaceAll(searched, () => content);
}

export function normalizerOf(made: Normalizer | null): Function {
  if (!made) return (text) => text;
  switch (made.type) {
    case "Sequence": {
      const steps = made.normalizers.map(normalizerOf);
      return (text) => steps.reduce((form, step) => step(form), text);
    }
    case "Lowercase": // code point by code point: a final sigma is not known as one
      return (text) => Array.from(text, (character) => character.toLowerCase()).join("");
    case "NFC":
      return (text) => text.normalize("NFC");
    case "Precompiled":
      return characterMap(made.precompiled_charsmap);
    case "Replace":
      return replacing(made.pattern, made.content);
    case "Strip": {
      const ends = [...(made.strip_left ? ["^\\s+"] : []), ...(made.strip_right ? ["\\s+$"] : [])];
      const pattern = regex(ends.join("|"));
      return (text) => text.replace(pattern, "");
    }
  }
}
