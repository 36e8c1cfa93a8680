// Tokens, their numbers and their embeddings.
import { atStep, chosenAt, positionIn, stepOf } from "../attention";
import { again, begin, model, trace } from "../data";
import { Absent, Choice } from "../parts";
import { Legend } from "../pictures/legend";
import { Strip } from "../pictures/strip";
import { labels, TokenRow } from "../pictures/tokens";
import { select, type Stack, stacks } from "../state";
import { useFloats } from "../use";
import type { Tokens } from "../wire";
import { join, say } from "../words";

/** Each token, its number, and its row of the embedding matrix. */
function Embedded(props: { title: string; tokens: Tokens; begin?: number; of: string; stack: Stack }) {
  const width = model.value!.config.width;
  const rows = useFloats(props.of);
  const names = labels(props.tokens);
  const at = positionIn(props.stack);
  return (
    <>
      <h3>{props.title}</h3>
      <TokenRow
        tokens={props.tokens}
        begin={props.begin}
        title={props.title}
        chosen={at}
        onChoose={(k) => select(chosenAt(props.stack, k))}
      />
      {rows ? (
        names.map((name, k) => (
          <p class={k === at ? "vector lit" : "vector"} key={k}>
            <b>
              <bdi>{name}</bdi>
            </b>{" "}
            <Strip values={rows.subarray(k * width, (k + 1) * width)} title={name} />
          </p>
        ))
      ) : (
        <Absent of={rows} />
      )}
    </>
  );
}

export function Input() {
  const now = trace.value!;
  const { checkpoints } = model.value!;
  return (
    <>
      {checkpoints.length > 0 && (
        <Choice
          title={say("checkpoint")}
          value={now.checkpoint}
          of={[["", say("the_model")], ...checkpoints.map((name) => [name, name] as const)]}
          onChoose={(checkpoint) => again({ checkpoint })}
        />
      )}
      <p class="explain">{say("pieces_and_ids")}</p>
      <Legend />
      {now.normalised !== now.text && (
        <p>
          {join([say("normalised"), ""])}
          <b>
            <bdi lang="">{now.normalised}</bdi>
          </b>
        </p>
      )}
      {stacks().includes("encoder") && (
        <Embedded title={say("source")} tokens={now.source} of="encoder.embedding" stack="encoder" />
      )}
      {stacks().includes("decoder") && (
        <Embedded
          title={say("target_in")}
          tokens={now.replay.decoder_in}
          begin={begin()}
          of="decoder.embedding"
          stack="decoder"
        />
      )}
      <h3>{say("target_out")}</h3>
      <TokenRow
        tokens={now.replay.target_out}
        title={say("target_out")}
        chosen={stepOf(now.replay.target_out.ids.length)}
        onChoose={(t) => select(atStep(t))}
      />
    </>
  );
}
