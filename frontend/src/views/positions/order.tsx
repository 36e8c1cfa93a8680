// What the order of words means to the model: its answers to them in another order, with positions and without.
import { signal } from "@preact/signals";
import { again, asked, busy, peek, saw } from "../../data";
import { stacks } from "../../state";
import { say } from "../../words";
import "./order.css";

/** How many orders are tried until the model answers otherwise to one. */
const TRIES = 8;

/** A sentence, and the same words in another order. */
const orders = signal<[string, string] | null>(null);

/** The words of a sentence in another order; its characters, where it is one word; null where there is only one order. */
function shuffled(text: string): string | null {
  const words = text.trim().split(/\s+/);
  const [parts, space] = words.length > 1 ? [words, " "] : [[...text.trim()], ""];
  if (new Set(parts).size < 2) return null;
  for (;;) {
    const found = parts.map((part) => [Math.random(), part] as const).sort(([a], [b]) => a - b);
    const joined = found.map(([, part]) => part).join(space);
    if (joined !== parts.join(space)) return joined;
  }
}

/** What the model answers to the words in their order and in another, with positions and without. */
export function Order() {
  const { text } = asked.value!;
  const pair = orders.value?.includes(text) ? orders.value : null;
  const question = (line: string, positions_off: boolean) => ({ text: line, target: "", positions_off });
  const shuffle = async () => {
    const answerTo = (line: string) => saw(question(line, false))?.output;
    try {
      await peek(question(text, false));
      let other = text;
      for (let k = 0; k < TRIES && answerTo(other) === answerTo(text); k++) {
        other = shuffled(text)!;
        await peek(question(other, false));
      }
      orders.value = [text, other];
      for (const line of [text, other]) await peek(question(line, true));
    } catch {
      orders.value = null; // such as the words, in another order, are too many tokens
    }
  };
  const answer = (line: string, positions_off: boolean) => {
    const found = saw(question(line, positions_off));
    return found ? <bdi lang="">{found.output || say("nothing")}</bdi> : "…";
  };
  return (
    <>
      <p>
        <button type="button" disabled={busy.value || shuffled(text) === null} onClick={shuffle}>
          {say("shuffle")}
        </button>
      </p>
      {pair && (
        <div class="scroll" tabIndex={0} role="region" aria-label={say("shuffle")}>
          <table class="orders">
            <thead>
              <tr>
                <th scope="col">{say("sentence")}</th>
                <th scope="col">{say("with_positions")}</th>
                <th scope="col">{say("without_positions")}</th>
              </tr>
            </thead>
            <tbody>
              {pair.map((line) => (
                <tr key={line}>
                  <th scope="row">
                    {line === text ? (
                      <bdi lang="">{line}</bdi>
                    ) : (
                      <button type="button" class="link" onClick={() => again({ text: line, target: "" })}>
                        <bdi lang="">{line}</bdi>
                      </button>
                    )}
                  </th>
                  <td>{answer(line, false)}</td>
                  <td>{answer(line, true)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {pair && <p class="explain">{say(stacks()[0] === "encoder" ? "bag_of_words" : "bag_of_words_decoder")}</p>}
    </>
  );
}
