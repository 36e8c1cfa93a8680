// Keys that work anywhere on the page, and the large picture for a projector.
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { model } from "./data";
import { number, select, selection } from "./state";
import { say } from "./words";
import "./keys.css";

/** Whether pictures fill the screen, with large letters. */
export const projector = signal(false);
const listed = signal(false);

projector.subscribe((on) => document.documentElement.classList.toggle("projector", on));

/** Elements with keys of their own. */
const BUSY = "input, select, textarea, canvas, svg, [role=listbox], [role=region], .forest, dialog";

/** `views`: in their order, by title; a title may begin with its number. */
export function useKeys(views: () => [string, string][]): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target as Element;
      if (event.key === "Escape") {
        if (listed.value) listed.value = false;
        else projector.value = false;
        return;
      }
      if (target.matches("input:not([type=range]):not([type=checkbox]), textarea, select")) return;
      const own = target.closest(BUSY) !== null;
      const all = views();
      const at = Math.max(
        0,
        all.findIndex(([name]) => name === selection.value.view),
      );
      const heads = model.value?.config.heads ?? 1;
      const actions: Record<string, (() => void) | undefined> = {
        ArrowLeft: own ? undefined : () => select({ view: all[Math.max(0, at - 1)][0] }),
        ArrowRight: own ? undefined : () => select({ view: all[Math.min(all.length - 1, at + 1)][0] }),
        " ":
          own || target.matches("button, summary, a")
            ? undefined
            : () => document.querySelector<HTMLButtonElement>("article [data-play]")?.click(),
        h: () => select({ head: (number("head", heads) + heads - 1) % heads }),
        l: () => select({ head: (number("head", heads) + 1) % heads }),
        t: () => select({ tour: selection.value.tour ? "" : 1 }),
        p: () => {
          projector.value = !projector.value;
        },
        "?": () => {
          listed.value = !listed.value;
        },
      };
      const named = all.find(([, title]) => title.split(" ")[0] === event.key);
      const act =
        actions[event.key] ?? (named && /^\d$/.test(event.key) ? () => select({ view: named[0] }) : undefined);
      if (!act) return;
      event.preventDefault();
      act();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

/** The list of keys, when it is asked for. */
export function Keys() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (listed.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [listed.value]);
  const keys = [
    ["0 – 9", "key_views"],
    ["← →", "key_next"],
    ["␣", "key_play"],
    ["h l", "key_heads"],
    ["t", "key_tour"],
    ["p", "key_projector"],
    ["?", "key_list"],
  ] as const;
  return (
    <dialog
      ref={dialog}
      aria-label={say("keys")}
      onClose={() => {
        listed.value = false;
      }}
    >
      <b>{say("keys")}</b>
      <table>
        <tbody>
          {keys.map(([key, does]) => (
            <tr key={key}>
              <th scope="row">
                <kbd>{key}</kbd>
              </th>
              <td>{say(does)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <form method="dialog">
        <button type="submit">{say("close")}</button>
      </form>
    </dialog>
  );
}

/** Buttons for those who have no keys at hand. */
export const Screen = () => (
  <span>
    <button
      type="button"
      aria-pressed={projector.value}
      onClick={() => {
        projector.value = !projector.value;
      }}
    >
      {say("projector")}
    </button>{" "}
    <button
      type="button"
      aria-label={say("keys")}
      onClick={() => {
        listed.value = true;
      }}
    >
      ?
    </button>
  </span>
);

/** For those who have no keys at hand: on a projector, the header with its button is hidden. */
export const LeaveProjector = () => (
  <button
    type="button"
    class="leave"
    aria-label={say("projector_leave")}
    title={say("projector_leave")}
    onClick={() => {
      projector.value = false;
    }}
  >
    ✕
  </button>
);
