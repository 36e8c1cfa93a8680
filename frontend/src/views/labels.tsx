// The answer of the encoder shape: labels.
import { stepOf } from "../attention";
import { model, trace } from "../data";
import { Slider } from "../parts";
import { Bar } from "../pictures/bar";
import { Distribution } from "../pictures/distribution";
import { labels } from "../pictures/tokens";
import { select } from "../state";
import { isolate, say, show } from "../words";
import "./labels.css";

/** What a label belongs to: a token, or the whole sentence. */
export function labelled(): string[] {
  const now = trace.value!;
  return model.value!.config.labels === "token" ? labels(now.source).slice(0, -1) : [now.text];
}

/** The encoder's answer: a label each, and how probable it is. */
export function Labels() {
  const { target_out, steps } = trace.value!.replay;
  const t = stepOf(steps.length);
  return (
    <>
      <p class="explain">{say("never_special")}</p>
      <div class="scroll" tabIndex={0} role="region" aria-label={say("labels")}>
        <table class="bars labels">
          <thead>
            <tr>
              <th scope="col">{say("source")}</th>
              <th scope="col">{say("label")}</th>
              <th scope="col" colSpan={2}>
                p
              </th>
            </tr>
          </thead>
          <tbody>
            {labelled().map((name, k) => {
              const probability = Math.exp(steps[k].top[0].log_prob);
              return (
                <tr key={k} class={k === t ? "lit" : ""} onClick={() => select({ t: k })}>
                  <th scope="row" lang="">
                    <bdi>{name}</bdi>
                  </th>
                  <td>
                    <bdi>{labels(target_out)[k]}</bdi>
                  </td>
                  <td class="wide">
                    <Bar share={probability} />
                  </td>
                  <td class="number">{show(probability, 4)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {steps.length > 1 && (
        <Slider
          title={say("position")}
          value={t}
          most={steps.length - 1}
          onMove={(at) => select({ t: at })}
          shown={`${t} · ${isolate(labelled()[t])}`}
        />
      )}
      <Distribution
        step={steps[t]}
        chosen={target_out.ids[t]}
        title={say("top_labels")}
        size={trace.value!.shapes.logits.at(-1)!}
      />
    </>
  );
}
