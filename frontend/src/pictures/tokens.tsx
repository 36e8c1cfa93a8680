// Tokens as people read them.
import { clamp } from "../state";
import type { Tokens } from "../wire";

/** What a piece looks like to a person. */
export const piece = (text: string) => text.replaceAll("▁", "␣");

const known = new WeakMap<Tokens, string[]>();

/** The pieces as people read them; those that are bytes of one character show that character. */
export function labels(tokens: Tokens): string[] {
  const found = known.get(tokens) ?? tokens.pieces.map(piece);
  if (known.has(tokens)) return found;
  known.set(tokens, found);
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
      aria-activedescendant={`${props.title}-${props.chosen}`}
    >
      {names.map((name, k) => (
        <span
          key={k}
          id={`${props.title}-${k}`}
          role="option"
          aria-selected={k === props.chosen}
          class={`token ${k === props.chosen ? "chosen" : ""} ${part(k, props.begin)}`}
          onClick={() => props.onChoose(k)}
        >
          {name}
          <small>{props.tokens.ids[k]}</small>
        </span>
      ))}
    </div>
  );
}
