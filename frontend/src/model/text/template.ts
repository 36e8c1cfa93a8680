// What stands around the pieces of every line: language tags, the words of a task, or special tokens.
import type { Template } from "../../wire";

/** A tag of a line's own: it names the language of the target. */
const OF_LINE = /^ *(>>[^<>]+<<)/;

/** What stands before a line, and its text, from which a tag of its own is cut off. */
export function split({ prefix, own }: Template, line: string): { prefix: number[]; text: string } {
  const found = OF_LINE.exec(line);
  if (!found || !Object.hasOwn(own, found[1])) return { prefix, text: line };
  const others = prefix.filter((id) => !Object.values(own).includes(id));
  return { prefix: [own[found[1]], ...others], text: line.slice(found[0].length) };
}
