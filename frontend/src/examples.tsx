// Sentences to begin with, one click each.
import { asked, busy, first, look, served, trace } from "./data";
import "./examples.css";
import { say } from "./words";

export function Examples() {
  const { examples } = first.value!;
  if (!served || examples.length === 0) return null;
  return (
    <nav class="examples" aria-label={say("examples")}>
      {say("try")}
      {examples.map(({ text, target }) => (
        <button
          type="button"
          key={text}
          aria-current={trace.value?.text === text ? "true" : undefined}
          disabled={busy.value}
          onClick={() => look({ text, target, checkpoint: asked.value?.checkpoint ?? "" })}
        >
          <bdi lang="">{text}</bdi>
        </button>
      ))}
    </nav>
  );
}
