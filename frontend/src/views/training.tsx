// One sentence over the training.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { again, asked, busy, error, model, peek, saw, served, trace } from "../data";
import { mean } from "../numbers";
import { Missing, Slider } from "../parts";
import { CurvesOfRun } from "../pictures/curves";
import { type Problem, Refusal } from "../refusal";
import { oneFile } from "../source";
import { hasCross } from "../state";
import { say, show } from "../words";
import { Alignment } from "./cross";
import "./training.css";

export function Training() {
  const now = trace.value!;
  const playing = useSignal(false);
  /** Why there are rows without an answer. */
  const missing = useSignal<Problem | null>(null);
  const { checkpoints, curves } = model.value!;
  const all = [...checkpoints, ""];
  const at = Math.max(0, all.indexOf(now.checkpoint));
  const title = (name: string) => name || say("the_model");
  const steps = checkpoints.map((name) => Number(name.split("-").at(-1)));
  const late = steps[0] > (steps.at(-1) ?? 0) / 2;
  const seen = checkpoints.map((name) => saw({ checkpoint: name }));
  const known = steps.flatMap((step, k) => (seen[k] ? [{ step, loss: mean(seen[k].reference ?? seen[k].own) }] : []));
  const sentence = { steps: known.map(({ step }) => step), values: known.map(({ loss }) => loss) };
  /** The checkpoint that is nearest, as it is drawn. */
  const choose = (step: number) => {
    const distances = steps.map((each) => Math.abs(Math.log1p(each) - Math.log1p(step)));
    playing.value = false;
    again({ checkpoint: checkpoints[distances.indexOf(Math.min(...distances))] });
  };
  const working = busy.value; // as it was when `at` was read: an answer may come before the effect does
  useEffect(() => {
    if (!playing.value || working) return;
    if (at === all.length - 1 || error.value) {
      playing.value = false;
      return;
    }
    const timer = setTimeout(() => again({ checkpoint: all[at + 1] }), 400);
    return () => clearTimeout(timer);
  }, [playing.value, working, at]);
  useEffect(() => {
    let here = true;
    missing.value = null;
    const fill = async () => {
      for (const name of all) {
        while (here && busy.peek()) await new Promise((done) => setTimeout(done, 100)); // what is asked for comes first
        if (!here) return;
        await peek({ checkpoint: name }).catch((problem) => {
          if (problem instanceof Refusal) missing.value = problem.problem;
        });
      }
    };
    fill();
    return () => {
      here = false;
    };
  }, [asked.value?.text, asked.value?.target]);
  if (!served) return <Missing>{say("failed_needs_server")}</Missing>;
  if (all.length === 1) return <Missing>{say(oneFile ? "no_checkpoints_here" : "no_checkpoints")}</Missing>;
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
      </p>
      {late && <Missing>{say("late")}</Missing>}
      {missing.value && (
        <Missing>
          {say(`failed_${missing.value.code}`, { ...missing.value.values, error: missing.value.error })}
        </Missing>
      )}
      <CurvesOfRun
        curves={curves}
        sentence={sentence}
        reference={now.reference !== null}
        at={steps[at] ?? null}
        onChoose={choose}
      />
      <div class="scroll" tabIndex={0} role="region" aria-label={say("view_training")}>
        <table class="checkpoints">
          <thead>
            <tr>
              <th scope="col">{say("checkpoint")}</th>
              <th scope="col">{say("target_out")}</th>
              <th scope="col">{say("loss_own")}</th>
              {now.reference && <th scope="col">{say("loss_reference")}</th>}
            </tr>
          </thead>
          <tbody>
            {all.map((name, k) => {
              const found = saw({ checkpoint: name });
              if (!found && missing.value) return null; // there will be no answer
              return (
                <tr key={name} class={k === at ? "lit" : ""}>
                  <th scope="row">{title(name)}</th>
                  <td>
                    <bdi lang="">{found ? found.output || say("nothing") : "–"}</bdi>
                  </td>
                  <td class="number">{found ? show(mean(found.own), 4) : ""}</td>
                  {now.reference && <td class="number">{found?.reference ? show(mean(found.reference), 4) : ""}</td>}
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
