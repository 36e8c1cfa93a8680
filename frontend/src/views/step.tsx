// One step of decoding: the distribution after a prefix.
import { again, begin, trace } from "../data";
import { Formula, Slider } from "../parts";
import { Distribution } from "../pictures/distribution";
import { labels, part } from "../pictures/tokens";
import { number, select } from "../state";
import { say } from "../words";

export function StepView() {
  const now = trace.value!;
  const t = number("t", now.replay.steps.length);
  const prefix = labels(now.replay.decoder_in).slice(0, begin() + t + 1);
  const goOn = (id: number) => again({ prefix: [...now.replay.target_out.ids.slice(0, t), id] });
  return (
    <>
      <Slider
        title={say("step")}
        value={t}
        most={now.replay.steps.length - 1}
        onMove={(at) => select({ t: at })}
        shown={`${t + 1} / ${now.replay.steps.length}`}
      />
      <Formula name="step" />
      <p class="explain">{say("may_write")}</p>
      <p class="prefix">
        {prefix.map((name, k) => (
          <span class={`token ${part(k, begin())}`} key={k}>
            <bdi>{name}</bdi>
          </span>
        ))}{" "}
        →{" "}
        <span class="token chosen">
          <bdi>{labels(now.replay.target_out)[t]}</bdi>
        </span>
      </p>
      <Distribution
        step={now.replay.steps[t]}
        chosen={now.replay.target_out.ids[t]}
        title={say("top")}
        onChoose={goOn}
      />
    </>
  );
}
