// Why a token has its loss: what was wanted instead, what hiding a token of the source does, and what each head does.
import { atStep, stepOf } from "../../attention";
import { css, dark, inkOn, signedColour } from "../../colours";
import { asked, source, trace, writes } from "../../data";
import { Missing } from "../../parts";
import { Bar } from "../../pictures/bar";
import { largest } from "../../pictures/canvas";
import { HeadMap } from "../../pictures/headmap";
import { Legend } from "../../pictures/legend";
import { labels, tokenName } from "../../pictures/tokens";
import { select } from "../../state";
import { useAnswer } from "../../use";
import type { Replay } from "../../wire";
import { brief, percent, say, show } from "../../words";

/** How many of the most probable tokens are listed. */
const LISTED = 5;

interface Token {
  id: number;
  name: string;
  /** Its probability, over the whole vocabulary. */
  share: number;
}

/** At the chosen step of the reference, or of the model's own output. */
export function Why({ of, reference }: { of: Replay; reference: boolean }) {
  const { losses, ranks, steps, target_out } = of;
  const t = stepOf(losses.length);
  const kind = writes() ? "" : "_label";
  const heads = useAnswer(source.heads, asked.value, t, reference);
  const hidden = useAnswer(source.occlusion, asked.value, t, reference);
  const right: Token = { id: target_out.ids[t], name: labels(target_out)[t], share: Math.exp(-losses[t]) };
  const { top, allowed } = steps[t];
  const wanted = top
    .slice(0, LISTED)
    .map(({ id, piece, log_prob }): Token => ({ id, name: tokenName(id, piece), share: Math.exp(log_prob + allowed) }));
  const [first] = wanted;
  return (
    <section class="why" aria-live="polite">
      <h3>{say(`why${kind}`, { token: right.name, step: t + 1 })}</h3>
      <p>
        {right.id === first.id
          ? say("why_first", { token: right.name, share: percent(right.share) })
          : say(`why_astray${kind}`, {
              token: right.name,
              rank: ranks[t] + 1,
              share: percent(right.share),
              wanted: first.name,
              instead: percent(first.share),
            })}
      </p>
      <Wanted of={wanted} right={right} title={say(`wanted${kind}`)} />
      <p class="explain">{say("one_hot")}</p>
      <p class="explain">{say(`whole_vocabulary${kind}`)}</p>
      {writes() && (
        <p>
          <button type="button" onClick={() => select({ view: "step", ...atStep(t) })}>
            {say("open_step")}
          </button>
        </p>
      )}
      <h4>{say("hidden_tokens")}</h4>
      {hidden ? <Hidden changes={hidden} /> : <Unanswered of={hidden} />}
      <h4>{say("heads_off_one_by_one")}</h4>
      {heads ? <HeadMap effects={heads} title={say("delta_loss", { token: right.name })} /> : <Unanswered of={heads} />}
    </section>
  );
}

/** In the place of an answer that is on its way (undefined), or that this page cannot give (null). */
const Unanswered = ({ of }: { of: null | undefined }) => <Missing>{of === null ? say("needs_model") : "…"}</Missing>;

/** The distribution of the model, beside the one-hot distribution of what is right. */
function Wanted({ of, right, title }: { of: Token[]; right: Token; title: string }) {
  const listed = of.some(({ id }) => id === right.id) ? of : [...of, right];
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={title}>
      <table class="bars">
        <caption>{title}</caption>
        <thead>
          <tr>
            <td />
            <th scope="col" colSpan={2}>
              p
            </th>
            <th scope="col" class="number">
              one-hot
            </th>
          </tr>
        </thead>
        <tbody>
          {listed.map(({ id, name, share }) => (
            <tr key={id} class={id === right.id ? "lit" : ""}>
              <th scope="row">
                <bdi>{name}</bdi>
              </th>
              <td class="wide">
                <Bar share={share} />
              </td>
              <td class="number">{show(share, 4)}</td>
              <td class="number">{id === right.id ? 1 : 0}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Each token of the source, coloured by what hiding it does to the loss. */
function Hidden({ changes }: { changes: number[] }) {
  const most = largest(changes);
  const names = labels(trace.value!.source).slice(0, changes.length);
  return (
    <>
      <p class="tokens" data-dark={dark.value}>
        {names.map((name, k) => {
          const shade = signedColour(changes[k] / most);
          return (
            <span class="token" key={k} style={{ background: css(shade), color: inkOn(shade) }}>
              <bdi>{name}</bdi>
              <span class="small">
                {changes[k] > 0 && "+"}
                {brief(changes[k])}
              </span>
            </span>
          );
        })}
      </p>
      <Legend most={most} />
    </>
  );
}
