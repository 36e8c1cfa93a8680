// One sentence over the training.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { again, busy, error, model, saw, served, trace } from "../data";
import { Missing, Slider } from "../parts";
import { hasCross } from "../state";
import { say, show } from "../words";
import { Alignment } from "./cross";

export function Training() {
  const now = trace.value!;
  const playing = useSignal(false);
  const all = [...model.value!.checkpoints, ""];
  const at = Math.max(0, all.indexOf(now.checkpoint));
  const title = (name: string) => name || say("the_model");
  const [first, ...later] = model.value!.checkpoints.map((name) => Number(name.split("-").at(-1)));
  const late = first > (later.at(-1) ?? first) / 2;
  useEffect(() => {
    if (!playing.value || busy.value) return;
    if (at === all.length - 1 || error.value) {
      playing.value = false;
      return;
    }
    const timer = setTimeout(() => again({ checkpoint: all[at + 1] }), 400);
    return () => clearTimeout(timer);
  }, [playing.value, busy.value, at]);
  if (!served) return <Missing>{say("failed_needs_server")}</Missing>;
  if (all.length === 1) return <Missing>{say("no_checkpoints")}</Missing>;
  return (
    <>
      <Slider
        title={say("checkpoint")}
        value={at}
        most={all.length - 1}
        onMove={(k) => {
          playing.value = false;
          again({ checkpoint: all[k] });
        }}
        shown={title(all[at])}
      />
      <p>
        <button
          type="button"
          disabled={playing.value}
          onClick={() => {
            playing.value = true;
            again({ checkpoint: all[0] });
          }}
        >
          ▶ {say("play")}
        </button>
        {all.some((name) => !saw({ checkpoint: name })) && ` ${say("press_play")}`}
      </p>
      {late && <Missing>{say("late")}</Missing>}
      <div class="scroll" tabIndex={0} role="region" aria-label={say("view_training")}>
        <table class="checkpoints">
          <thead>
            <tr>
              <th scope="col">{say("checkpoint")}</th>
              <th scope="col">{say("target_out")}</th>
              <th scope="col">{say("loss_own")}</th>
              <th scope="col">{say("loss_reference")}</th>
            </tr>
          </thead>
          <tbody>
            {all.map((name, k) => {
              const found = saw({ checkpoint: name });
              return (
                <tr key={name} class={k === at ? "lit" : ""}>
                  <th scope="row">{title(name)}</th>
                  <td>
                    <bdi lang="">{found ? found.output || say("nothing") : "–"}</bdi>
                  </td>
                  <td class="number">{found ? show(found.own, 4) : ""}</td>
                  <td class="number">{found?.reference != null ? show(found.reference, 4) : ""}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {hasCross() && <Alignment />}
    </>
  );
}
