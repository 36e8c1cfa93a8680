// The alphabet of byte-level BPE (Radford et al. 2019): each byte of UTF-8 as a character that can be seen.

/** What cuts a line into words before they are written in the alphabet; a word has the space before it. */
export const WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const isVisible = (byte: number) => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);

const characters: string[] = [];
for (let byte = 0, others = 0; byte < 256; byte++) {
  characters.push(String.fromCharCode(isVisible(byte) ? byte : 256 + others++));
}
const byteOf = new Map(characters.map((character, byte) => [character, byte]));

const encoder = new TextEncoder();
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A text in the alphabet, as tokens have it. */
export const spell = (text: string): string => Array.from(encoder.encode(text), (byte) => characters[byte]).join("");

/** The bytes of a token, or those of its name, if that is not in the alphabet. */
export function bytesOf(token: string): number[] {
  const bytes = Array.from(token, (character) => byteOf.get(character));
  return bytes.includes(undefined) ? Array.from(encoder.encode(token)) : (bytes as number[]);
}

/** The text of a token, with `<0xE2>` for each byte that is no UTF-8. */
export function read(token: string): string {
  const bytes = bytesOf(token);
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const lengths = [1, 2, 3, 4].filter((length) => at + length <= bytes.length);
    const length = lengths.find((each) => decoded(bytes.slice(at, at + each)) !== null);
    text += length
      ? decoded(bytes.slice(at, at + length))
      : `<0x${bytes[at].toString(16).toUpperCase().padStart(2, "0")}>`;
    at += length ?? 1;
  }
  return text;
}

function decoded(bytes: number[]): string | null {
  try {
    return utf8.decode(Uint8Array.from(bytes));
  } catch {
    return null;
  }
}
