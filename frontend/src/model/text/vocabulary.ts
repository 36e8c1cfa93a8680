// The three ways from a word to its tokens: merges, the best path of a unigram language model, and a list of words.

/** The tokens of one word. What is in none is a token too, of a name that the vocabulary lacks. */
export type Tokenise = (word: string) => string[];
type Vocabulary = ReadonlyMap<string, number>;

export type TokenModel =
  | {
      type: "BPE";
      vocab: Record<string, number>;
      merges: ([string, string] | string)[];
      fuse_unk: boolean;
      byte_fallback: boolean;
    }
  | { type: "Unigram"; vocab: [string, number][]; unk_id: number; byte_fallback: boolean }
  | { type: "WordLevel"; vocab: Record<string, number>; unk_token: string };

export function idsOf(model: TokenModel): Vocabulary {
  return new Map(
    model.type === "Unigram" ? model.vocab.map(([token], id) => [token, id]) : Object.entries(model.vocab),
  );
}

export function tokeniserOf(model: TokenModel, ids: Vocabulary): Tokenise {
  switch (model.type) {
    case "BPE":
      return bpe(model.merges, ids, model.fuse_unk, model.byte_fallback);
    case "Unigram":
      return unigram(model.vocab, model.unk_id, ids, model.byte_fallback);
    case "WordLevel":
      return (word) => [word];
  }
}

const encoder = new TextEncoder();

/** The bytes of what is not in the vocabulary, by their names. */
const bytes = (text: string): string[] =>
  Array.from(encoder.encode(text), (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);

/** Parts of a word as tokens, and as bytes where they are none. */
const spelt = (parts: string[], ids: Vocabulary): string[] =>
  parts.flatMap((part) => (ids.has(part) ? part : bytes(part)));

/** Parts of a word as tokens: unknown ones side by side are one if they are `fused`, and bytes if there are any. */
function tokens(parts: string[], ids: Vocabulary, fused: boolean, byByte: boolean): string[] {
  if (byByte) return spelt(parts, ids);
  const found: string[] = [];
  let wasKnown = true;
  for (const part of parts) {
    const known = ids.has(part);
    if (fused && !known && !wasKnown) found.push(found.pop() + part);
    else found.push(part);
    wasKnown = known;
  }
  return found;
}

/** Byte-pair encoding: of all neighbours, those are merged first whose merge was learnt first (Sennrich et al. 2016). */
function bpe(merges: ([string, string] | string)[], ids: Vocabulary, fused: boolean, byByte: boolean): Tokenise {
  const ranks = new Map(merges.map((pair, rank) => [typeof pair === "string" ? pair : pair.join("\0"), rank]));
  return (word) => {
    const parts = Array.from(word);
    for (;;) {
      let first = -1;
      let best = Infinity;
      for (let k = 0; k + 1 < parts.length; k++) {
        const rank = ranks.get(`${parts[k]}\0${parts[k + 1]}`);
        if (rank !== undefined && rank < best) [first, best] = [k, rank];
      }
      if (first < 0) return tokens(parts, ids, fused, byByte);
      parts.splice(first, 2, parts[first] + parts[first + 1]);
    }
  };
}

/** What a character costs that is in no token, more than the least probable token does. */
const UNKNOWN = 10;

/** The most probable way to cut a word into tokens, found by the Viterbi algorithm (Kudo 2018). */
function unigram(vocabulary: [string, number][], unknown: number, ids: Vocabulary, byByte: boolean): Tokenise {
  const longest = vocabulary.reduce((most, [token]) => Math.max(most, Array.from(token).length), 0);
  const least = vocabulary.reduce((score, [, each]) => Math.min(score, each), Infinity) - UNKNOWN;
  return (word) => {
    const characters = Array.from(word);
    const end = characters.length;
    const scores = [0, ...Array<number>(end).fill(-Infinity)];
    const paths: { first: number; known: boolean }[] = [];
    for (let first = 0; first < end; first++) {
      const offer = (next: number, score: number, known: boolean) => {
        if (paths[next] && scores[first] + score <= scores[next]) return;
        scores[next] = scores[first] + score;
        paths[next] = { first, known };
      };
      let token = "";
      let single = false;
      for (let next = first + 1; next <= Math.min(end, first + longest); next++) {
        token += characters[next - 1];
        const id = ids.get(token);
        if (id === undefined) continue;
        offer(next, vocabulary[id][1], id !== unknown);
        single ||= next === first + 1;
      }
      if (!single) offer(first + 1, least, false);
    }
    const found: string[] = [];
    for (let at = end, wasKnown = true; at > 0;) {
      // unknown characters side by side are one part
      const { first, known } = paths[at];
      const part = characters.slice(first, at).join("");
      if (!known && !wasKnown) found[0] = part + found[0];
      else found.unshift(part);
      [at, wasKnown] = [first, known];
    }
    return byByte ? spelt(found, ids) : found;
  };
}
