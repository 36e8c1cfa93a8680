// The rules by which SentencePiece normalises characters, compiled: a trie (Darts) of strings, and what replaces each.

/** A longer cluster of characters that belong together is replaced one by one, as in the library `tokenizers`. */
const LONGEST_CLUSTER = 5;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** @param base64 the length of the trie, the trie, and the strings, each with a zero at its end. */
export function characterMap(base64: string): (text: string) => string {
  const data = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const size = new DataView(data.buffer).getUint32(0, true);
  const units = new Uint32Array(data.buffer.slice(4, 4 + size));
  const strings = data.subarray(4 + size);
  const clusters = new Intl.Segmenter(undefined, { granularity: "grapheme" });

  /** What replaces a text: the replacement of its shortest beginning that has one. */
  const replacement = (bytes: Uint8Array): string | null => {
    let at = offset(units[0]);
    for (const byte of bytes) {
      at ^= byte;
      const unit = units[at];
      if ((unit & 0x800000ff) >>> 0 !== byte) return null;
      at ^= offset(unit);
      if ((unit >>> 8) & 1) {
        const first = units[at] & 0x7fffffff;
        return decoder.decode(strings.subarray(first, strings.indexOf(0, first)));
      }
    }
    return null;
  };
  return (text) =>
    Array.from(clusters.segment(text), ({ segment }) => {
      const bytes = encoder.encode(segment);
      const whole = bytes.length <= LONGEST_CLUSTER ? replacement(bytes) : null;
      return whole ?? Array.from(segment, (each) => replacement(encoder.encode(each)) ?? each).join("");
    }).join("");
}

const offset = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
