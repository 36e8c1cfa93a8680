// One sentence over the training.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { again, asked, busy, error, model, peek, saw, served, trace } from "../data";
import { mean } from "../numbers";
import { Missing, Slider } from "../parts";
import { CurvesOfRun } from "../pictures/curves";
import { type Problem, problemOf } from "../refusal";
import { oneFile } from "../source";
import { hasCross } from "../state";
import { reason, say, show } from "../words";
import { Alignment } from "./cross";
import "./training.css";

/** Between two checkpoints. */
const PAUSE_MS = 400;

export function Training() {
  const { checkpoints } = model.value!;
  if (!served) return <Missing>{say("failed_needs_server")}</Missing>;
  if (checkpoints.length === 0) return <Missing>{say(oneFile ? "no_checkpoints_here" : "no_checkpoints")}</Missing>;
  return <Checkpoints of={[...checkpoints, ""]} />;
}

const titleOf = (checkpoint: string) => checkpoint || say("the_model");

/** The updates after which a checkpoint was kept. */
const updatesOf = (checkpoint: string) => Number(checkpoint.split("-").at(-1));

/** The checkpoints, the oldest first; the last one is the model itself. */
function Checkpoints({ of: all }: { of: string[] }) {
  const at = Math.max(0, all.indexOf(trace.value!.checkpoint));
  const playing = usePlaying(all, at);
  const missing = useAnswers(all);
  const steps = all.slice(0, -1).map(updatesOf);
  const late = steps[0] > steps.at(-1)! / 2;
  const choose = (checkpoint: string) => {
    playing.value = false;
    again({ checkpoint });
  };
  return (
    <>
      <Slider
        title={say("checkpoint")}
        value={at}
        most={all.length - 1}
        onMove={(k) => choose(all[k])}
        shown={titleOf(all[at])}
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
      {missing && <Missing>{reason(missing)}</Missing>}
      <Losses steps={steps} of={all} at={at} onChoose={choose} />
      <Answers of={all} at={at} complete={missing === null} />
      {hasCross() && <Alignment />}
    </>
  );
}

/** Whether one checkpoint after another is shown, up to the last one or to one that fails. */
function usePlaying(all: string[], at: number) {
  const playing = useSignal(false);
  const working = busy.value; // as it was when `at` was read: an answer may come before the effect does
  useEffect(() => {
    if (!playing.value || working) return;
    if (at === all.length - 1 || error.value) {
      playing.value = false;
      return;
    }
    const timer = setTimeout(() => again({ checkpoint: all[at + 1] }), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [playing.value, working, at]);
  return playing;
}

/** Asks all checkpoints the question that is shown, and gives the reason if one of them does not answer. */
function useAnswers(all: string[]): Problem | null {
  const missing = useSignal<Problem | null>(null);
  useEffect(() => {
    let here = true;
    missing.value = null;
    const fill = async () => {
      for (const checkpoint of all) {
        while (here && busy.peek()) await new Promise((done) => setTimeout(done, 100)); // what is asked for comes first
        if (!here) return;
        await peek({ checkpoint }).catch((problem) => {
          missing.value = problemOf(problem);
        });
      }
    };
    fill();
    return () => {
      here = false;
    };
  }, [JSON.stringify({ ...asked.value, checkpoint: "" })]);
  return missing.value;
}

/** The losses of the run, and those of this sentence as far as they are known. */
function Losses(props: { of: string[]; steps: number[]; at: number; onChoose: (checkpoint: string) => void }) {
  const { of: all, steps, at } = props;
  const known = steps.flatMap((step, k) => {
    const found = saw({ checkpoint: all[k] });
    return found ? [{ step, loss: mean(found.reference ?? found.own) }] : [];
  });
  /** The checkpoint that is nearest, as it is drawn. */
  const choose = (step: number) => {
    const distances = steps.map((each) => Math.abs(Math.log1p(each) - Math.log1p(step)));
    props.onChoose(all[distances.indexOf(Math.min(...distances))]);
  };
  return (
    <CurvesOfRun
      curves={model.value!.curves}
      sentence={{ steps: known.map(({ step }) => step), values: known.map(({ loss }) => loss) }}
      reference={trace.value!.reference !== null}
      at={steps[at] ?? null}
      onChoose={choose}
    />
  );
}

/** What each checkpoint answers; `complete`: none of them fails. */
function Answers(props: { of: string[]; at: number; complete: boolean }) {
  const { reference } = trace.value!;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={say("view_training")}>
      <table class="checkpoints">
        <thead>
          <tr>
            <th scope="col">{say("checkpoint")}</th>
            <th scope="col">{say("target_out")}</th>
            <th scope="col">{say("loss_own")}</th>
            {reference && <th scope="col">{say("loss_reference")}</th>}
          </tr>
        </thead>
        <tbody>
          {props.of.map((checkpoint, k) => {
            const found = saw({ checkpoint });
            if (!found && !props.complete) return null; // there will be no answer
            return (
              <tr key={checkpoint} class={k === props.at ? "lit" : ""}>
                <th scope="row">{titleOf(checkpoint)}</th>
                <td>
                  <bdi lang="">{found ? found.output || say("nothing") : "–"}</bdi>
                </td>
                <td class="number">{found ? show(mean(found.own), 4) : ""}</td>
                {reference && <td class="number">{found?.reference ? show(mean(found.reference), 4) : ""}</td>}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
