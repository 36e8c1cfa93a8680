// All heads of the model at one glance, coloured by what each does for the loss at one position.
import { css, dark, inkOn, signedColour } from "../colours";
import { attentionName, headName } from "../parts";
import { select } from "../state";
import type { HeadEffect } from "../wire";
import { brief, say } from "../words";
import { largest } from "./canvas";
import { Legend } from "./legend";
import "./headmap.css";

/** Leads to a head of this attention. */
function openHead(name: string, head: number): void {
  const [stack, layer, kind] = name.split(".");
  select({ view: "heads", stack, layer, kind, head });
}

export function HeadMap(props: { effects: HeadEffect[]; title: string }) {
  const names = [...new Set(props.effects.map((each) => each.name))].reverse();
  const most = largest(props.effects.map((each) => each.loss));
  const shade = (loss: number) => signedColour(loss / most);
  const printed = (loss: number) => `${loss > 0 ? "+" : ""}${brief(loss)}`;
  return (
    <div class="scroll headmap" data-dark={dark.value} tabIndex={0} role="region" aria-label={props.title}>
      <table>
        <caption>{props.title}</caption>
        <tbody>
          {names.map((name) => (
            <tr key={name}>
              <th scope="row" title={name}>
                {attentionName(name)}
              </th>
              {props.effects
                .filter((each) => each.name === name)
                .map(({ head, loss }) => (
                  <td key={head}>
                    <button
                      type="button"
                      aria-label={`${headName(name, head)}: ${printed(loss)}`}
                      style={{ background: css(shade(loss)), color: inkOn(shade(loss)) }}
                      onClick={() => openHead(name, head)}
                    >
                      {printed(loss)}
                    </button>
                  </td>
                ))}
            </tr>
          ))}
        </tbody>
      </table>
      <Legend most={most} />
      <p class="explain">{say("effect_sign")}</p>
    </div>
  );
}
