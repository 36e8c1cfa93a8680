// What the search found: its answers, and all finished hypotheses, which it compared.
import { trace } from "../../data";
import type { Candidate } from "../../wire";
import { say, show } from "../../words";
import { nameOf, pathTo } from "./tree";

const MAX_COMPARED = 12;

export const Answers = () => (
  <ol class="hypotheses">
    {trace.value!.hypotheses.map((each, k) => (
      <li key={k}>
        <b>
          <bdi lang="">{each.text || say("nothing")}</bdi>
        </b>{" "}
        {each.score === null ? "" : show(each.score, 4)}
        {each.finished ? "" : ` (${say("unfinished")})`}
      </li>
    ))}
  </ol>
);

/** All hypotheses that ended, best first. */
export function Finished(props: { byNumber: Map<number, Candidate> }) {
  const ended = trace
    .value!.candidates.filter((each) => each.fate === "finished")
    .sort((a, b) => b.score - a.score)
    .slice(0, MAX_COMPARED);
  if (ended.length < 2) return null;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={say("compared")}>
      <table class="finished">
        <caption>{say("compared")}</caption>
        <thead>
          <tr>
            <th scope="col">{say("finished")}</th>
            <th scope="col">Σ log p</th>
            <th scope="col">n</th>
            <th scope="col">{say("score")}</th>
          </tr>
        </thead>
        <tbody>
          {ended.map((each) => {
            const path = pathTo(each, props.byNumber);
            return (
              <tr key={each.number}>
                <th scope="row">
                  <bdi lang="">{path.map(nameOf).join(" ")}</bdi>
                </th>
                <td class="number">{show(each.total, 4)}</td>
                <td class="number">{path.length}</td>
                <td class="number">{show(each.score, 4)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
