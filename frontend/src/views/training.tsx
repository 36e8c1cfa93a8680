// One sentence over the training.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { again, asked, busy, error, mean, model, peek, saw, served, trace } from "../data";
import { Missing, Slider } from "../parts";
import { CurvesOfRun } from "../pictures/curves";
import { hasCross } from "../state";
import { say, show } from "../words";
import { Alignment } from "./cross";

/** The loss of this sentence at every checkpoint that has answered; the chosen one is marked. */
function Curve(props: { names: string[]; at: number }) {
  const losses = props.names.map((name) => {
    const found = saw({ checkpoint: name });
    return found ? mean(found.reference ?? found.own) : null;
  });
  const known = losses.filter((loss) => loss !== null);
  if (known.length < 2) return null;
  const most = Math.max(...known, 1e-9);
  const x = (k: number) => 20 + (k * 560) / Math.max(1, props.names.length - 1);
  const y = (loss: number) => 110 - (95 * loss) / most;
  const points = losses.flatMap((loss, k) => (loss === null ? [] : [`${x(k)},${y(loss)}`]));
  const title = say(trace.value!.reference ? "loss_reference" : "loss_own");
  return (
    <figure>
      <svg class="curve" viewBox="0 0 600 130" role="img" aria-label={title}>
        <polyline points={points.join(" ")} />
        {losses.map(
          (loss, k) =>
            loss !== null && (
              <circle key={k} cx={x(k)} cy={y(loss)} r={k === props.at ? 6 : 3} class={k === props.at ? "lit" : ""}>
                <title>{`${props.names[k] || say("the_model")}: ${show(loss, 4)}`}</title>
              </circle>
            ),
        )}
        <text x="24" y="12">
          {show(most, 2)}
        </text>
        <text x="24" y="126">
          0
        </text>
      </svg>
      <figcaption class="tools">{title}</figcaption>
    </figure>
  );
}

export function Training() {
  const now = trace.value!;
  const playing = useSignal(false);
  const { checkpoints, curves } = model.value!;
  const all = [...checkpoints, ""];
  const at = Math.max(0, all.indexOf(now.checkpoint));
  const title = (name: string) => name || say("the_model");
  const steps = checkpoints.map((name) => Number(name.split("-").at(-1)));
  const late = steps[0] > (steps.at(-1) ?? 0) / 2;
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
    const fill = async () => {
      for (const name of all) {
        while (here && busy.peek()) await new Promise((done) => setTimeout(done, 100)); // what is asked for comes first
        if (!here) return;
        await peek({ checkpoint: name }).catch(() => null); // its row stays empty
      }
    };
    fill();
    return () => {
      here = false;
    };
  }, [asked.value?.text, asked.value?.target]);
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
      </p>
      <Curve names={all} at={at} />
      {late && <Missing>{say("late")}</Missing>}
      {curves && <CurvesOfRun curves={curves} at={steps[at] ?? null} onChoose={choose} />}
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
                  <td class="number">{found ? show(mean(found.own), 4) : ""}</td>
                  <td class="number">{found?.reference != null ? show(mean(found.reference), 4) : ""}</td>
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
