// The tokenizer of one side: lines ↔ ids. It is what `tokenizer.json` describes, in the library's format.
import type { Template } from "../../wire";
import { bytesOf, read } from "./bytelevel";
import { split } from "./template";
import { normalizerOf, replacing, type Normalizer, type Pattern } from "./normalizer";
import { preTokenizerOf, type PreTokenizer } from "./pretokenizer";
import { idsOf, tokeniserOf, type TokenModel, type Tokenise } from "./vocabulary";

export const PAD = 0;
export const UNK = 1;
export const BOS = 2;
export const EOS = 3;
export const SPECIALS = ["<pad>", "<unk>", "<s>", "</s>"] as const;

type Decoder =
  | { type: "Sequence"; decoders: Decoder[] }
  | { type: "ByteFallback" | "ByteLevel" | "Fuse" }
  | { type: "Replace"; pattern: Pattern; content: string }
  | { type: "Strip"; content: string; start: number; stop: number };

interface Description {
  normalizer: Normalizer | null;
  pre_tokenizer: PreTokenizer | null;
  model: TokenModel;
  decoder: Decoder;
  /** The list of the model's own in which tokens are looked up, and those ids in it that no text has. */
  vocabulary?: { pieces: string[]; special: number[] };
}

export class Tokenizer {
  /** The normal form of a line, which `encode` encodes and `decode` restores. */
  readonly normalise: (line: string) => string;
  readonly size: number;
  private readonly cut: (text: string) => string[];
  private readonly tokenise: Tokenise;
  private readonly tokens: string[] = [];
  /** From names to ids; what is not among them is UNK. */
  private readonly ids: ReadonlyMap<string, number>;
  private readonly special: ReadonlySet<number>;
  /** Whether tokens are written in the alphabet of bytes. */
  private readonly isByteLevel: boolean;
  private readonly join: (tokens: string[]) => string[];

  /**
   * @param json the content of a `tokenizer.json`.
   * @param template what stands before the tokens of every line.
   */
  constructor(
    json: string,
    readonly template: Template,
  ) {
    const made: Description = JSON.parse(json);
    const ids = idsOf(made.model);
    this.normalise = normalizerOf(made.normalizer);
    this.cut = preTokenizerOf(made.pre_tokenizer);
    this.tokenise = tokeniserOf(made.model, ids);
    this.isByteLevel = made.decoder.type === "ByteLevel";
    this.join = made.pre_tokenizer ? joinerOf(made.decoder) : spellAll;
    this.special = new Set(made.vocabulary?.special);
    if (made.vocabulary) this.tokens = made.vocabulary.pieces;
    else for (const [token, id] of ids) this.tokens[id] = token;
    const ordinary = [...this.tokens.entries()].filter(([id]) => id > EOS && !this.special.has(id));
    this.ids = new Map(ordinary.map(([id, token]) => [token, id]));
    this.size = this.tokens.length;
  }

  /** Ids within the template, without BOS and, unless it has a suffix, without EOS. A line without tokens of its own has none at all. */
  encode(line: string): number[] {
    const { prefix, text } = split(this.template, line);
    const form = this.normalise(text);
    const tokens = form ? this.cut(form).flatMap(this.tokenise) : [];
    const ids = tokens.map((token) => this.ids.get(token) ?? UNK);
    return ids.length ? [...prefix, ...ids, ...this.template.suffix] : [];
  }

  /** The template's prefix, PAD, BOS, EOS, tags and other special tokens are left out. */
  decode(ids: number[]): string {
    const { prefix, tags } = this.template;
    const silent = new Set([PAD, BOS, EOS, ...this.special, ...tags]);
    const start = prefix.every((id, k) => ids[k] === id) ? prefix.length : 0;
    const kept = ids.slice(start).filter((id) => !silent.has(id) && id < this.size);
    return this.join(kept.map((id) => this.tokens[id])).join("");
  }

  /** Each token in readable form: `▁` is a space, `⏎` a line break and `<0xE2>` a byte. */
  pieces(ids: number[]): string[] {
    return ids.map((id) => this.text(id).replaceAll(" ", "▁").replaceAll("\n", "⏎"));
  }

  /** What a token stands for; its name, if that is no text. */
  private text(id: number): string {
    const name = this.tokens[id] ?? SPECIALS[UNK];
    return this.isByteLevel && !this.special.has(id) ? read(name) : name;
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
    case "ByteLevel":
      return (tokens) => [lenient.decode(Uint8Array.from(tokens.flatMap(bytesOf)))];
    case "Fuse":
      return (tokens) => [tokens.join("")];
    case "Replace": {
      const replace = replacing(made.pattern, made.content);
      return (tokens) => tokens.map(replace);
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

const lenient = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** All tokens as bytes become text; what is none is `�`, and no more. */
const spellAll = (tokens: string[]): string[] => {
  const bytes = tokens.flatMap((token) => {
    const byte = BYTE.exec(token);
    return byte ? Number.parseInt(byte[1], 16) : Array.from(encoder.encode(token));
  });
  return [lenient.decode(Uint8Array.from(bytes))];
};

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
