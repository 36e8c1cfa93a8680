// The tokenizer of one side: lines ↔ ids. It is what `tokenizer.json` describes, in the library's format.
import { normalizerOf, regex, type Normalizer } from "./normalizer";
import { preTokenizerOf, type PreTokenizer } from "./pretokenizer";
import { idsOf, tokeniserOf, type TokenModel, type Tokenise } from "./vocabulary";

export const PAD = 0;
export const UNK = 1;
export const BOS = 2;
export const EOS = 3;
export const SPECIALS = ["<pad>", "<unk>", "<s>", "</s>"] as const;

type Decoder =
  | { type: "Sequence"; decoders: Decoder[] }
  | { type: "ByteFallback" | "Fuse" }
  | { type: "Replace"; pattern: { Regex: string }; content: string }
  | { type: "Strip"; content: string; start: number; stop: number };

interface Description {
  normalizer: Normalizer | null;
  pre_tokenizer: PreTokenizer | null;
  model: TokenModel;
  decoder: Decoder;
}

export class Tokenizer {
  /** The normal form of a line, which `encode` encodes and `decode` restores. */
  readonly normalise: (line: string) => string;
  readonly size: number;
  private readonly cut: (text: string) => string[];
  private readonly tokenise: Tokenise;
  private readonly tokens: string[] = [];
  private readonly join: (tokens: string[]) => string[];

  /** @param json the content of a `tokenizer.json`. */
  constructor(json: string) {
    const made: Description = JSON.parse(json);
    const ids = idsOf(made.model);
    this.normalise = normalizerOf(made.normalizer);
    this.cut = preTokenizerOf(made.pre_tokenizer);
    this.tokenise = tokeniserOf(made.model, ids);
    this.join = joinerOf(made.decoder);
    for (const [token, id] of ids) this.tokens[id] = token;
    this.size = ids.size;
  }

  /** Ids without BOS and EOS. An empty line has none. */
  encode(line: string): number[] {
    const form = this.normalise(line);
    return form ? this.cut(form).flatMap(this.tokenise) : [];
  }

  /** PAD, BOS and EOS are left out. */
  decode(ids: number[]): string {
    const kept = ids.filter((id) => (id === UNK || id > EOS) && id < this.size);
    return this.join(kept.map((id) => this.tokens[id])).join("");
  }

  /** Each token in readable form: `▁` is a space, `⏎` a line break and `<0xE2>` a byte. */
  pieces(ids: number[]): string[] {
    return ids.map((id) => (this.tokens[id] ?? SPECIALS[UNK]).replaceAll(" ", "▁").replaceAll("\n", "⏎"));
  }
}

/** From tokens to the parts of their line. */
function joinerOf(made: Decoder): (tokens: string[]) => string[] {
  switch (made.type) {
    case "Sequence": {
      const steps = made.decoders.map(joinerOf);
      return (tokens) => steps.reduce((parts, step) => step(parts), tokens);
    }
    case "ByteFallback":
      return spell;
    case "Fuse":
      return (tokens) => [tokens.join("")];
    case "Replace": {
      const pattern = regex(made.pattern.Regex, "u");
      return (tokens) => tokens.map((token) => token.replace(pattern, () => made.content));
    }
    case "Strip": {
      const { content, start } = made;
      return (tokens) =>
        tokens.map((token) => {
          let first = 0;
          while (first < start && token[first] === content) first++;
          return token.slice(first);
        });
    }
  }
}

const BYTE = /^<0x([0-9A-F]{2})>$/;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Runs of bytes become text; where they are none, each is `�`. */
function spell(tokens: string[]): string[] {
  const parts: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    try {
      parts.push(utf8.decode(Uint8Array.from(bytes)));
    } catch {
      parts.push("�".repeat(bytes.length));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = BYTE.exec(token);
    if (byte) {
      bytes.push(Number.parseInt(byte[1], 16));
      continue;
    }
    if (bytes.length) flush();
    parts.push(token);
  }
  if (bytes.length) flush();
  return parts;
}

/** Runs of byte pieces that are one character: (first, end, character). `<0xE2>` alone says nothing to anyone. */
export function characters(pieces: string[]): [number, number, string][] {
  const found: [number, number, string][] = [];
  for (let start = 0; start < pieces.length;) {
    let next = start + 1;
    for (let end = start + 1; end <= Math.min(start + 4, pieces.length); end++) {
      const run = pieces.slice(start, end).map((piece) => BYTE.exec(piece));
      if (run.includes(null)) break;
      const spelt = asCharacter(run.map((byte) => Number.parseInt(byte![1], 16)));
      if (spelt === null) continue;
      found.push([start, end, spelt]);
      next = end;
      break;
    }
    start = next;
  }
  return found;
}

function asCharacter(bytes: number[]): string | null {
  try {
    const spelt = utf8.decode(Uint8Array.from(bytes));
    return Array.from(spelt).length === 1 ? spelt : null;
  } catch {
    return null;
  }
}
