// Tokens as people read them.
import { useId } from "preact/hooks";
import { clamp, inColumns } from "../state";
import type { Tokens } from "../wire";
import "./tokens.css";

/** The tokens that are no text: those of training, and those of the lecture. */
const SPECIAL = { torch: ["PAD", "UNK", "BOS", "EOS"], lecture: ["PAD", "UNK", "BEGIN", "END"] };

/** Whether a token is no text. */
export const isSpecial = (id: number) => id < SPECIAL.torch.length;

/** What a token looks like to a person. */
export const tokenName = (id: number, piece: string) =>
  SPECIAL[inColumns() ? "lecture" : "torch"][id] ?? piece.replaceAll("▁", "␣");

const known = { torch: new WeakMap<Tokens, string[]>(), lecture: new WeakMap<Tokens, string[]>() };

/** The tokens as people read them; those that are bytes of one character show that character. */
export function labels(tokens: Tokens): string[] {
  const memory = known[inColumns() ? "lecture" : "torch"];
  const remembered = memory.get(tokens);
  if (remembered) return remembered;
  const found = tokens.ids.map((id, k) => tokenName(id, tokens.pieces[k]));
  memory.set(tokens, found);
  for (const [first, end, character] of tokens.characters)
    for (let k = first; k < end; k++) found[k] = end - first > 1 ? `${character}${"¹²³⁴"[k - first]}` : character;
  return found;
}

/** Which part of the decoder shape's one sequence a position is in; `begin` is where BOS stands. */
export const part = (k: number, begin = 0) =>
  !begin ? "" : k < begin ? "of-source" : k === begin ? "of-begin" : "of-target";

export function TokenRow(props: {
  tokens: Tokens;
  chosen: number;
  onChoose: (k: number) => void;
  title: string;
  begin?: number;
}) {
  const names = labels(props.tokens);
  const id = useId();
  const choose = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    props.onChoose(clamp(props.chosen + step, names.length));
  };
  return (
    <div
      class="tokens"
      role="listbox"
      aria-label={props.title}
      tabIndex={0}
      onKeyDown={choose}
      aria-activedescendant={`${id}-${props.chosen}`}
    >
      {names.map((name, k) => (
        <span
          key={k}
          id={`${id}-${k}`}
          role="option"
          aria-selected={k === props.chosen}
          class={`token ${k === props.chosen ? "chosen" : ""} ${part(k, props.begin)}`}
          onClick={() => props.onChoose(k)}
        >
          <bdi>{name}</bdi>
          <small>{props.tokens.ids[k]}</small>
        </span>
      ))}
    </div>
  );
}
