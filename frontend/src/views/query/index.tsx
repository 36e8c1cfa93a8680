// One query: from its vector to the weighted sum of the values, as the lecture draws it.
import { Chooser, chosenAt, Formulas, isOff, isThere, NoAttention, selected } from "../../attention";
import { Absent } from "../../parts";
import { largest } from "../../pictures/canvas";
import { common, Legend } from "../../pictures/legend";
import { Player, usePlayer } from "../../pictures/player";
import { labels, TokenRow } from "../../pictures/tokens";
import { select } from "../../state";
import type { MaybeFloats } from "../../use";
import { isolate, ordinal, percent, raised, say, show } from "../../words";
import { type Computation, STEPS, useComputation, wordOf } from "./computation";
import { Keys, pending, Terms, VectorStrip } from "./keys";
import { Picture } from "./picture";
import "./query.css";

export const OneQuery = () => (isThere(selected().name) ? <Walk /> : <NoAttention />);

function Walk() {
  const { stack, name, cross, asks, begins, head } = selected();
  const of = useComputation();
  const player = usePlayer(STEPS.length);
  const { letters } = of;
  const most = common.value ? largest(...of.k, ...of.v, of.q) : undefined;
  const vector = (letter: string, values: MaybeFloats) => (
    <p class="vector">
      <b>
        {letter}
        <sup>{ordinal(of.i)}</sup>
      </b>{" "}
      <VectorStrip values={values} title={`${letter} ${isolate(of.asking)}`} most={most} />
    </p>
  );
  return (
    <>
      <Chooser />
      <TokenRow
        tokens={asks}
        begin={begins[0]}
        chosen={of.i}
        onChoose={(at) => select(chosenAt(stack, at))}
        title={say("query_of")}
      />
      {of.missing.length > 0 && <Absent of={null} title={of.missing.join(", ")} />}
      <Player
        of={player}
        names={[letters.input, "W", "q · k", of.scaling, "exp", letters.weight, `Σ → ${letters.result}`]}
      />
      <Narration of={of} player={player} />
      <Picture of={of} step={player.at} off={isOff(name, head)} onKey={(j) => select({ j })} />
      <Formulas single cross={cross} />
      {vector(letters.input, of.input)}
      {vector(letters.query, of.q)}
      <Keys of={of} most={most} />
      <Legend most={most} grouped />
      {vector(letters.result, of.result)}
      <Terms of={of} />
    </>
  );
}

/** The step in a sentence with its numbers; and the same for the next query. */
function Narration(props: { of: Computation; player: ReturnType<typeof usePlayer> }) {
  const { letters, names, asking, i, j, dots, scores, weights } = props.of;
  const { stack, asks } = selected();
  const next = (i + 1) % asks.ids.length;
  return (
    <p aria-live="polite" class="narration">
      {say(wordOf(STEPS[props.player.at]), {
        token: asking,
        key: names[j],
        dot: dots ? show(dots[j]) : pending(scores),
        score: scores ? show(scores[j]) : pending(scores),
        share: weights ? percent(weights[j]) : pending(weights),
        a: letters.input,
      })}{" "}
      <button
        type="button"
        onClick={() => {
          select(chosenAt(stack, next));
          props.player.go(STEPS.indexOf("dots"));
          props.player.play();
        }}
      >
        {say("same_for", { letter: letters.result, place: raised(ordinal(next)), token: labels(asks)[next] })}
      </button>
    </p>
  );
}
