// Pieces as parts of words: attention between words, where a sentence has too many pieces to be read.
import { signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Tokens } from "../wire";
import { say } from "../words";
import { isSpecial, labels, tokenName } from "./tokens";

/** Scripts that put no spaces between words: there each piece stays by itself. */
const UNSPACED =
  /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Thai}|\p{Script=Khmer}|\p{Script=Lao}/u;

/** Some tokens side by side: [first, end). */
export type Span = [number, number];

/** What each token is as text: the bytes of a character are that character once. */
function texts(tokens: Tokens): string[] {
  const found = tokens.ids.map((id, k) => (isSpecial(id) ? tokenName(id, tokens.pieces[k]) : tokens.pieces[k]));
  for (const [first, end, character] of tokens.characters)
    for (let k = first; k < end; k++) found[k] = k === first ? character : "";
  return found;
}

/** The words, from their pieces. */
export function wordsOf(tokens: Tokens): Span[] {
  const parts = texts(tokens);
  const found: Span[] = [];
  const alone = (k: number) => isSpecial(tokens.ids[k]) || UNSPACED.test(parts[k]);
  let last = 0; // the piece before that is not the rest of a character
  for (const [k, text] of parts.entries()) {
    if (k && !text) found[found.length - 1][1] = k + 1;
    else {
      if (!k || text.startsWith("▁") || alone(k) || alone(last)) found.push([k, k + 1]);
      else found[found.length - 1][1] = k + 1;
      last = k;
    }
  }
  return found;
}

/** The text of some tokens without the spaces around it. */
export function nameOf(tokens: Tokens, [first, end]: Span): string {
  const text = texts(tokens).slice(first, end).join("").replaceAll("▁", " ").trim();
  return text || labels(tokens)[first];
}

/** Whether words are shown instead of pieces. */
const byWord = signal(false);

/** Weights of queries and keys, those of a word together. */
interface Joined {
  rows: string[];
  columns: string[];
  numbers: Float32Array | null | undefined;
  roots: Uint8Array | null | undefined;
  /** The row and column of a query and a key, and their first ones. */
  cell: (query: number, key: number) => [number, number];
  first: (row: number, column: number) => [number, number];
}

/** Over the keys of a word weights are added up, so that each row still sums to 1; over its queries they are averaged. */
function join(share: (k: number) => number, columns: number, queries: Span[], keys: Span[]): Float32Array {
  const found = new Float32Array(queries.length * keys.length);
  for (const [r, [i0, i1]] of queries.entries())
    for (const [c, [j0, j1]] of keys.entries()) {
      let sum = 0;
      for (let i = i0; i < i1; i++) for (let j = j0; j < j1; j++) sum += share(i * columns + j);
      found[r * keys.length + c] = sum / (i1 - i0);
    }
  return found;
}

const bytes = (shares: Float32Array) => Uint8Array.from(shares, (p) => Math.round(255 * Math.sqrt(Math.min(1, p))));

/** The weights of these queries and keys as they are, or between words. */
export function useWords(
  queries: Tokens,
  keys: Tokens,
  numbers: Float32Array | null | undefined,
  roots: Uint8Array | null | undefined,
): Joined {
  const names = [labels(queries), labels(keys)];
  return useMemo(() => {
    if (!byWord.value)
      return {
        rows: names[0],
        columns: names[1],
        numbers,
        roots,
        cell: (i: number, j: number) => [i, j],
        first: (r: number, c: number) => [r, c],
      };
    const spans = [wordsOf(queries), wordsOf(keys)];
    const joined = (share: (k: number) => number) => join(share, keys.ids.length, spans[0], spans[1]);
    const sums = numbers && joined((k) => numbers[k]);
    const shares = sums ?? (roots && joined((k) => (roots[k] / 255) ** 2));
    const within = (of: Span[], k: number) => of.findIndex(([first, end]) => first <= k && k < end);
    return {
      rows: spans[0].map((span) => nameOf(queries, span)),
      columns: spans[1].map((span) => nameOf(keys, span)),
      numbers: sums,
      roots: shares && bytes(shares),
      cell: (i: number, j: number) => [within(spans[0], i), within(spans[1], j)],
      first: (r: number, c: number) => [spans[0][r][0], spans[1][c][0]],
    };
  }, [queries, keys, numbers, roots, byWord.value, names[0], names[1]]);
}

/** Pieces or words; nothing where they are the same. */
export function WordSwitch(props: { of: Tokens[] }) {
  if (props.of.every((tokens) => wordsOf(tokens).length === tokens.ids.length)) return null;
  return (
    <>
      <label class="scale">
        <input
          type="checkbox"
          data-words
          checked={byWord.value}
          onChange={() => {
            byWord.value = !byWord.value;
          }}
        />{" "}
        {say("by_word")}
      </label>
      {byWord.value && <p class="legend">{say("by_word_means")}</p>}
    </>
  );
}
