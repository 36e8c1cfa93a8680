// What there is room for: the names of tokens, and from them where everything lies.
import { answerTokens, model, trace } from "../data";
import { widest } from "../pictures/canvas";
import { nameOf, type Span, wordsOf } from "../pictures/pieces";
import type { Room } from "../pictures/room";
import { isSpecial, labels } from "../pictures/tokens";
import { type Stack, stacks } from "../state";
import type { Tokens } from "../wire";
import { letters } from "./letters";
import { remark, title, unframed } from "./parts";
import { plan } from "./plan";
import { rowsOf } from "./rows";
import type { Group } from "./scene";

/** What there is room for: the picture, and the smallest of its letters. */
export interface Size extends Room {
  least: number;
}

/** Names of tokens where there is room for each, and else of words, or of several of them. */
function grouped(tokens: Tokens, pitch: number, least: number): Omit<Group, "upright">[] {
  const short = (span: Span) => {
    const text = nameOf(tokens, span);
    return text.length > 14 ? `${text.slice(0, 13)}…` : text;
  };
  if (pitch >= least) return labels(tokens).map((name, k) => ({ first: k, end: k + 1, text: () => name }));
  const found: Span[] = [];
  const alone = (span: Span) => isSpecial(tokens.ids[span[0]]);
  const apart = (one: Span, other: Span) => ((other[0] + other[1] - one[0] - one[1]) / 2) * pitch >= least;
  for (const [first, end] of wordsOf(tokens)) {
    const [before, last] = [found[found.length - 2], found[found.length - 1]];
    if (last && alone([first, end]) && before && !alone(before) && !alone(last) && !apart(last, [first, end]))
      before[1] = found.pop()![1];
    const full = last && (last[1] - last[0]) * pitch >= least && (!before || apart(before, last));
    if (!last || alone([first, end]) || alone(last) || full) found.push([first, end]);
    else last[1] = end;
  }
  return found.map(([first, end]) => ({ first, end, text: (until) => short([first, Math.min(end, until)]) }));
}

/** All that is drawn but the vectors and the weights. */
export function arrange(size: Size) {
  const now = trace.value!,
    { config } = model.value!;
  const { em } = size;
  const kinds = stacks();
  const tokens = { encoder: now.source, decoder: now.replay.decoder_in };
  const counts = { encoder: tokens.encoder.ids.length, decoder: tokens.decoder.ids.length };
  const boxes = kinds.flatMap((stack) =>
    rowsOf(config, stack)
      .filter((row) => row.kind === "box")
      .map((row) => ({ title: title(row, stack), remark: remark(row) })),
  );
  const names = Math.max(
    (widest(boxes.map((each) => each.title)) * letters(size, 0.78)) / 13,
    (0.93 * (widest(boxes.map((each) => each.remark)) * letters(size, 0.66))) / 13, // which are not bold
  );
  const letter = letters(size, 0.75);
  const long = (of: string[]) => Math.min(9 * letter, (widest(of) * letter) / 13);
  // How wide a column will be is only known afterwards, and the names' height decides on the height alone.
  const measure = (labelled: Record<Stack | "answers", number>) =>
    plan(config, { ...size, stacks: kinds, counts, labels: labelled, names });
  const first = measure({ encoder: 0, decoder: 0, answers: 0 });
  const pitch = (stack: Stack) => first.towers.find((tower) => tower.stack === stack)?.pitch ?? 0;
  const last = kinds[kinds.length - 1];
  const named = (of: Tokens, stack: Stack): Group[] => {
    const found = grouped(of, pitch(stack), 1.15 * letter).map((group) => {
      const room = pitch(stack) * (group.end - group.first) - 4;
      return { ...group, upright: (widest([group.text(group.end)]) * letter) / 13 < room };
    });
    // Single tokens all stand alike.
    const alike = found.length === of.ids.length && !found.every((group) => group.upright);
    return alike ? found.map((group) => ({ ...group, upright: false })) : found;
  };
  const groups = {
    encoder: named(tokens.encoder, "encoder"),
    decoder: named(tokens.decoder, "decoder"),
    answers: named(answerTokens(), last),
  };
  const high = (row: Stack | "answers") => {
    const turned = groups[row].filter((group) => !group.upright).map((group) => group.text(group.end));
    const lines = row === "decoder" && unframed().length ? 1.6 * em + letter : 0; // beside the name of the stack
    return Math.max(lines, turned.length ? 0.87 * long(turned) + 0.8 * em : letter + 0.55 * em);
  };
  return {
    plan: measure({ encoder: high("encoder"), decoder: high("decoder"), answers: high("answers") }),
    groups,
  };
}
