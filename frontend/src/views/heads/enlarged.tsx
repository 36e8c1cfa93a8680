// The chosen head, enlarged; it can be switched off, or kept beside the one that is chosen next.
import { signal } from "@preact/signals";
import { Chooser, chosenAt, isOff, isThere, selected } from "../../attention";
import { trace } from "../../data";
import { Absent, Ask, headName } from "../../parts";
import { viewport } from "../../pictures/canvas";
import { Heatmap } from "../../pictures/heatmap";
import { useWords, WordSwitch } from "../../pictures/pieces";
import { inColumns, select } from "../../state";
import { useFloats, useMatrix, useRoots } from "../../use";
import { say } from "../../words";

/** A head that stays beside the others, also when other views are looked at meanwhile. */
const pinned = signal<{ name: string; head: number } | null>(null);

/** `beside`: it stands beside the small pictures. */
export function Enlarged({ beside }: { beside: boolean }) {
  const { stack, kind, name, head, asks, answers } = selected();
  const { heads_off } = trace.value!.what_if;
  const off = isOff(name, head);
  const others = heads_off.filter(([at, which]) => at !== name || which !== head);
  const comparable = pinned.value?.name.startsWith(stack) && pinned.value.name.endsWith(kind) ? pinned.value : null;
  const alone = beside && viewport.value.width > 760 ? 0.55 : 1;
  return (
    <div class={beside ? "opened" : ""}>
      <Chooser />
      <div class="dials">
        <Ask change={{ heads_off: off ? others : [...others, [name, head]] }} disabled={!isThere(name)}>
          {say(off ? "switch_on" : "switch_off", { head: headName(name, head) })}
        </Ask>
        {isThere(name) && (
          <p>
            <button
              type="button"
              aria-pressed={pinned.value !== null}
              onClick={() => {
                pinned.value = pinned.value ? null : { name, head };
              }}
            >
              {say(pinned.value ? "unpin" : "pin")}
            </button>{" "}
            <WordSwitch of={[asks, answers]} />
          </p>
        )}
      </div>
      {isThere(name) && (
        <div class="pair">
          {comparable && <Head {...comparable} room={0.45} />}
          <Head name={name} head={head} room={comparable ? 0.45 : alone} />
        </div>
      )}
    </div>
  );
}

function Head(props: { name: string; head: number; room: number }) {
  const { stack, asks, answers, begins, i, j } = selected();
  const size = asks.ids.length * answers.ids.length;
  const weights = useMatrix(useFloats(`${props.name}.weights`), props.head, size);
  const roots = useMatrix(useRoots(`${props.name}.weights`), props.head, size);
  const { cell, first, ...joined } = useWords(asks, answers, weights, roots);
  if (!roots) return <Absent of={roots} />;
  const off = isOff(props.name, props.head);
  return (
    <div class={off ? "off" : ""}>
      <Heatmap
        {...joined}
        title={`${headName(props.name, props.head)}${off ? ` – ${say("head_off_here")}` : ""}`}
        turned={inColumns()}
        axes={[say("axis_query"), say("axis_key")]}
        begin={cell(...begins)}
        room={props.room}
        chosen={cell(i, j)}
        onChoose={(row, column) => {
          const [query, key] = first(row, column);
          select({ ...chosenAt(stack, query), j: key });
        }}
      />
    </div>
  );
}
