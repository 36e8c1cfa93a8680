// The shapes of all matrices of a head, and their canonical names.
import { inputs, selected } from "../../attention";
import { trace } from "../../data";
import { Letters } from "../../parts";
import { inColumns } from "../../state";
import { say } from "../../words";
import { learned, letters } from "./notation";
import { parameter, type Tensors } from "./tensors";

const isLearned = (key: string) => key.startsWith("parameters");

/** Letters, and the names of the tensors that they stand for. */
function listed(rotated: boolean): [string, string][] {
  const { name, cross } = selected();
  const [own, given] = inputs();
  const { own: ownLetter, given: givenLetter, scores, weights } = letters();
  const turned = cross ? "" : "rotated_";
  const R = rotated ? "R·" : "";
  return [
    [ownLetter, own],
    ...(cross ? [[givenLetter, given] satisfies [string, string]] : []),
    ...(["q", "k", "v", "o"] as const).map((of): [string, string] => [
      inColumns() ? learned(of) : `W_${of}`,
      parameter(of, "weight"),
    ]),
    [`${R}Q`, `${name}.${turned}queries`],
    [`${R}K`, `${name}.${turned}keys`],
    ["V", `${name}.values`],
    [scores, `${name}.scores`],
    [weights, `${name}.weights`],
    ["O", `${name}.context`],
  ];
}

/** A shape as it is drawn: where vectors are columns, the last two sides change places, but not those of parameters. */
function shapeOf(key: string): string {
  const sides = [...trace.value!.shapes[key]];
  const matrix = sides.splice(-2);
  return [...sides, ...(inColumns() && !isLearned(key) ? matrix.reverse() : matrix)].join(" × ");
}

export const Shapes = (props: { of: Tensors }) => (
  <details>
    <summary>{say("shapes")}</summary>
    <div class="scroll" tabIndex={0} role="region" aria-label={say("shapes")}>
      <table class="shapes">
        <tbody>
          {listed(props.of.rotated)
            .filter(([, key]) => key in trace.value!.shapes)
            .map(([letter, key]) => (
              <tr key={key} class={isLearned(key) ? "learned" : ""}>
                <th scope="row">
                  <Letters of={letter} />
                </th>
                <td>{shapeOf(key)}</td>
                <td>{say(isLearned(key) ? "learned" : "computed")}</td>
                <td>
                  <code>{key}</code>
                </td>
              </tr>
            ))}
        </tbody>
      </table>
    </div>
    {inColumns() && <p class="explain">{say("transposed")}</p>}
  </details>
);
