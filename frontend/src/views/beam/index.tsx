// The search: its settings, its tree, and what it found.
import { signal, useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { atStep } from "../../attention";
import { again, answerTokens, busy, error, served, trace } from "../../data";
import { Formula } from "../../parts";
import { alone, csvOf, Save } from "../../pictures/save";
import { refusal } from "../../refusal";
import { select } from "../../state";
import type { Candidate } from "../../wire";
import { isolate, join, say, show } from "../../words";
import "./beam.css";
import { Answers, Finished } from "./hypotheses";
import { Fates, Picture } from "./picture";
import { Settings } from "./settings";
import { nameOf, pathTo, treeOf } from "./tree";

/** With more candidates than this, the dropped ones are shown only when they are asked for. */
const MANY = 160;

/** The node that is looked at: one that was pointed at, or one that stays until another is chosen. */
interface Looked {
  number: number;
  fixed: boolean;
}

export function Beam() {
  const { candidates, decoding } = trace.value!;
  const { strategy, penalty, temperature, top_k, top_p, seed } = decoding;
  return (
    <>
      <Formula name="beam" variant={penalty} />
      <p class="explain">{join([say("beam_letters"), say("may_write")])}</p>
      {strategy === "sampling" && <p class="sampling">{say("sampled", { temperature, top_k, top_p, seed })}</p>}
      <Settings />
      <SearchTree candidates={candidates} />
    </>
  );
}

function SearchTree({ candidates }: { candidates: Candidate[] }) {
  const withPruned = useSignal(candidates.length < MANY);
  const looked = useMemo(() => signal<Looked | null>(null), [candidates]); // another search has other nodes
  const drawing = useRef<SVGSVGElement>(null);
  const tree = useMemo(() => treeOf(candidates, withPruned.value), [candidates, withPruned.value]);
  const byNumber = useMemo(() => new Map(candidates.map((each) => [each.number, each])), [candidates]);
  const path = pathTo(byNumber.get(looked.value?.number ?? -1), byNumber);
  const fix = (number: number) => {
    looked.value = { number, fixed: true };
  };
  return (
    <>
      <label>
        <input
          type="checkbox"
          checked={withPruned.value}
          onChange={() => {
            withPruned.value = !withPruned.value;
          }}
        />{" "}
        {say("show_pruned")}
      </label>
      <Answers />
      <Picture
        tree={tree}
        path={path}
        drawing={drawing}
        onPoint={(number) => {
          if (!looked.value?.fixed) looked.value = { number, fixed: false };
        }}
        onClick={(number) => {
          if (looked.value?.fixed && looked.value.number === number) openStep(path);
          else fix(number);
        }}
        onMove={fix}
        onOpen={() => openStep(path)}
      />
      <Picked path={path} fixed={looked.value?.fixed ?? false} />
      <p class="legend tree">
        <Fates />
        <Save
          name={say("view_beam")}
          svg={() => drawing.current && alone(drawing.current)}
          csv={() => csvOfCandidates(candidates)}
        />
      </p>
      <Finished byNumber={byNumber} />
    </>
  );
}

/** Whether a path is the beginning of the answer. */
const isAnswers = (path: Candidate[]) => path.every((each, k) => each.token === answerTokens().ids[k]);

/** Open the step of the last node of a path; on another path than the answer's, the model goes on from there. */
function openStep(path: Candidate[]): void {
  const last = path.at(-1);
  if (!last) return;
  if (!isAnswers(path)) {
    if (!served) {
      error.value = refusal("needs_server").problem;
      return;
    }
    again({ prefix: path.map((each) => each.token) });
  }
  select({ view: "step", ...atStep(last.step) });
}

/** The last node of a path in numbers; one that is fixed has a button that opens its step. */
function Picked({ path, fixed }: { path: Candidate[]; fixed: boolean }) {
  const last = path.at(-1);
  return (
    <>
      <p aria-live="polite">
        {last
          ? `${isolate(nameOf(last))} · log p ${show(last.log_prob)} · Σ log p ${show(last.total)} · ${say("score")} ${show(last.score)} · ${say(last.fate)}`
          : say("hover_tree")}
      </p>
      {last && fixed && (
        <p>
          <button type="button" disabled={busy.value} onClick={() => openStep(path)}>
            {say(isAnswers(path) ? "open_step" : "go_on_here")}
          </button>
        </p>
      )}
    </>
  );
}

const csvOfCandidates = (candidates: Candidate[]) =>
  csvOf([
    ["number", "parent", "step", "token", "log_prob", "total", "score", "fate"],
    ...candidates.map((each) => [
      each.number,
      each.parent ?? "",
      each.step,
      nameOf(each),
      each.log_prob,
      each.total,
      each.score,
      each.fate,
    ]),
  ]);
