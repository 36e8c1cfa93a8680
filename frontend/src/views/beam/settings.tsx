// The settings of the search: how wide its beam is, and how it weighs length.
import { again, busy, served, trace } from "../../data";
import { Slider } from "../../parts";
import { say } from "../../words";

/** A beam that shows a tree, where the model's own keeps a single line. */
const WIDER = 4;

export function Settings() {
  const { strategy, beam, length_penalty } = trace.value!.decoding;
  const sampling = strategy === "sampling";
  return (
    <>
      <div class="dials">
        <Slider
          title={say("beam")}
          value={beam}
          least={1}
          most={10}
          disabled={!served || sampling}
          onMove={(value) => again({ beam: value })}
        />
        <Slider
          title={say("length_penalty")}
          value={length_penalty}
          most={2}
          step={0.1}
          disabled={!served}
          onMove={(value) => again({ length_penalty: value })}
        />
      </div>
      {!served && <em>{say("failed_needs_server")}</em>}
      {beam === 1 && served && !sampling && (
        <p>
          {say("beam_one")}{" "}
          <button type="button" disabled={busy.value} onClick={() => again({ beam: WIDER })}>
            {say("beam_wider", { n: WIDER })}
          </button>
        </p>
      )}
    </>
  );
}
