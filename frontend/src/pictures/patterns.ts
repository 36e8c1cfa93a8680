// What a head attends to, in a word, from its weights on one sentence. A name says what is seen, not what it is for.

export type Pattern = "previous" | "next" | "same" | "first" | "last" | "aligned" | "broad" | "mixed";

export interface Measured {
  pattern: Pattern;
  /** The mean entropy of a query's weights, in nats. */
  entropy: number;
  /** How close the weights are to the diagonal: their share within a cell and a half of it. */
  diagonal: number;
  /** The mean of each query's largest weight. */
  sharpness: number;
  /** How many of the keys, as a share of the queries, are some query's largest. */
  answering: number;
}

/** Share of the weights that a pattern has to have. */
const MOST = 0.5;
/** Share of the largest possible entropy from which attention is broad. */
const BROAD = 0.7;

/** `roots`: 255 times the square roots of the weights, queries by keys. */
export function measure(roots: Uint8Array, rows: number, columns: number, cross: boolean): Measured {
  const weight = (i: number, j: number) => (roots[i * columns + j] / 255) ** 2;
  const share = (place: (i: number) => number, from = 0) => {
    let sum = 0;
    for (let i = from; i < rows; i++) sum += weight(i, place(i)) || 0;
    return sum / Math.max(1, rows - from);
  };
  let entropy = 0,
    diagonal = 0,
    sharpness = 0;
  const answering = new Set<number>();
  for (let i = 0; i < rows; i++) {
    let best = 0;
    for (let j = 0; j < columns; j++) {
      const p = weight(i, j);
      if (p > 0) entropy -= (p * Math.log(p)) / rows;
      if (Math.abs(i / rows - j / columns) <= 1.5 / Math.max(rows, columns)) diagonal += p / rows;
      if (p > weight(i, best)) best = j;
    }
    sharpness += weight(i, best) / rows;
    answering.add(best);
  }
  const found = (): Pattern => {
    if (!cross) {
      if (share((i) => i - 1, 1) > MOST) return "previous";
      if (share((i) => (i + 1 < columns ? i + 1 : i)) > MOST) return "next";
      if (share((i) => i) > MOST) return "same";
    }
    if (share(() => 0) > MOST) return "first";
    if (share(() => columns - 1) > MOST) return "last";
    if (entropy > BROAD * Math.log(columns)) return "broad";
    // Each position takes its values from one token, and not all from the same.
    if (cross && sharpness > MOST && answering.size > rows / 2) return "aligned";
    return "mixed";
  };
  return { pattern: found(), entropy, diagonal, sharpness, answering: answering.size / rows };
}
