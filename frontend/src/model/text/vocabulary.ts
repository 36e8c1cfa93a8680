// The three ways from a word to its tokens: merges, the best path of a unigram language model, and a list of words.

/** The tokens of one word. */
export type Tokenise = (word: string) => number[];
type Vocabulary = ReadonlyMap<string, number>;

export type TokenModel =
  | { type: "BPE"; vocab: Record<string, number>; merges: ([string, string] | string)[] }
  | { type: "Unigram"; vocab: [string, number][]; unk_id: number }
  | { type: "WordLevel"; vocab: Record<string, number>; unk_token: string };

export function idsOf(model: TokenModel): Vocabulary {
  return new Map(
    model.type === "Unigram" ? model.vocab.map(([token], id) => [token, id]) : Object.entries(model.vocab),
  );
}

export function tokeniserOf(model: TokenModel, ids: Vocabulary): Tokenise {
  switch (model.type) {
    case "BPE":
      return bpe(model.merges, ids);
    case "Unigram":
      return unigram(model.vocab, model.unk_id, ids);
    case "WordLevel":
      return (word) => [ids.get(word) ?? ids.get(model.unk_token)!];
  }
}

const encoder = new TextEncoder();

/** What is not in the vocabulary is spelt in UTF-8. */
function bytes(text: string, ids: Vocabulary): number[] {
  return Array.from(encoder.encode(text), (byte) =>
    ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`)!,
  );
}

/** Byte-pair encoding: of all neighbours, those are merged first whose merge was learnt first (Sennrich et al. 2016). */
function bpe(merges: ([string, string] | string)[], ids: Vocabulary): Tokenise {
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
      if (first < 0) return parts.flatMap((part) => ids.get(part) ?? bytes(part, ids));
      parts.splice(first, 2, parts[first] + parts[first + 1]);
    }
  };
}

/** What a character costs that is in no token, more than the least probable token does. */
const UNKNOWN = 10;

/** The most probable way to cut a word into tokens, found by the Viterbi algorithm (Kudo 2018). */
function unigram(vocabulary: [string, number][], unknown: number, ids: Vocabulary): Tokenise {
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
    return found.flatMap((part) => ids.get(part) ?? bytes(part, ids));
  };
}
