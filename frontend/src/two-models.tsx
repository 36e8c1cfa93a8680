// Two models on one page: what both answer, and which of them the views show.
import { useEffect } from "preact/hooks";
import { again, asked, busy, first, peek, saw } from "./data";
import { mean } from "./numbers";
import "./two-models.css";
import { BESIDE } from "./source";
import { lacking, say, show } from "./words";

export function TwoModels() {
  const other = first.value!.beside;
  const now = asked.value;
  useEffect(() => {
    if (other && now && !busy.value) peek({ checkpoint: now.checkpoint === BESIDE ? "" : BESIDE }).catch(() => null); // whoever chooses it is told
  }, [now, busy.value]);
  if (!other) return null;
  const models = [["A", "", first.value!] as const, ["B", BESIDE, other] as const];
  return (
    <div class="two-models" role="group" aria-label={say("two_models")}>
      {models.map(([letter, checkpoint, { name, config }]) => {
        const found = saw({ checkpoint });
        return (
          <button
            type="button"
            key={letter}
            aria-pressed={(now?.checkpoint === BESIDE) === (checkpoint === BESIDE)}
            onClick={() => again({ checkpoint })}
          >
            <b>{letter}</b> <bdi>{name}</bdi>
            {config.without.length > 0 && <small>{say("without", { parts: lacking(config.without) })}</small>}
            <span>
              {found && (found.output ? <bdi lang="">{found.output}</bdi> : <i>{say("nothing")}</i>)}
              {found && ` · −log p ${show(mean(found.own), 4)}`}
              {found?.reference != null && ` · ${say("loss_reference")} ${show(mean(found.reference), 4)}`}
            </span>
          </button>
        );
      })}
    </div>
  );
}
