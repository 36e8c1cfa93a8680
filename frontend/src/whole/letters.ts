// How large letters are, and which lines of them have room.

/** The size of letters that would be this share of the text's. */
export const letters = (of: { em: number; least: number }, share: number) => Math.max(of.least, share * of.em);

/** Which lines of names have room below one another, and beside the one that is `taken`; the first are most important. */
export function legible<Line extends { y: number }>(lines: Line[], height: number, taken: number): Line[] {
  const found: Line[] = [];
  for (const line of lines)
    if ([taken, ...found.map(({ y }) => y)].every((y) => Math.abs(y - line.y) >= height)) found.push(line);
  return found;
}
