// The tree of the search.
import { signal, useSignal } from "@preact/signals";
import { hierarchy, type HierarchyPointNode } from "d3-hierarchy";
import { useMemo, useRef } from "preact/hooks";
import { atStep } from "../attention";
import { again, busy, error, served, trace } from "../data";
import { projector } from "../keys";
import { Formula, Slider } from "../parts";
import { widest } from "../pictures/canvas";
import { alone, csvOf, Save } from "../pictures/save";
import { tokenName } from "../pictures/tokens";
import { select } from "../state";
import type { Candidate } from "../wire";
import { isolate, join, say, show } from "../words";
import "./beam.css";

/** A beam that shows a tree, where the model's own keeps a single line. */
const WIDER = 4;

interface Node {
  candidate: Candidate | null;
  children: Node[];
}

/** A prefix and its best continuations lie on one line, the next that is `free` in each of their columns; the others below. */
function lay(first: HierarchyPointNode<Node>, free: number[]): void {
  const path = [first];
  for (let next = first.children?.[0]; next; next = next.children?.[0]) path.push(next);
  const line = Math.max(...path.map((node) => free[node.depth] ?? 0));
  for (const node of path) {
    node.x = 19 * line;
    free[node.depth] = line + 1;
  }
  for (const node of path.reverse()) for (const other of node.children?.slice(1) ?? []) lay(other, free);
}

/** All hypotheses that ended, best first: what the search compares. */
function Finished(props: { byNumber: Map<number, Candidate> }) {
  const ended = trace
    .value!.candidates.filter((each) => each.fate === "finished")
    .sort((a, b) => b.score - a.score)
    .slice(0, 12);
  if (ended.length < 2) return null;
  const tokens = (last: Candidate) => {
    const path: string[] = [];
    for (let at: Candidate | undefined = last; at; at = props.byNumber.get(at.parent ?? -1))
      path.unshift(tokenName(at.token, at.piece));
    return path;
  };
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
            const path = tokens(each);
            return (
              <tr key={each.number}>
                <th scope="row">
                  <bdi lang="">{path.join(" ")}</bdi>
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

export function Beam() {
  const now = trace.value!;
  const pruned = useSignal(now.candidates.length < 160);
  const chosen = useMemo(() => signal<number | null>(null), [now]); // another search has other nodes
  const fixed = useMemo(() => signal<number | null>(null), [now]); // looked at until another one is
  const drawing = useRef<SVGSVGElement>(null);
  const { strategy, beam, length_penalty, temperature, top_k, top_p, seed } = now.decoding;
  const sampling = strategy === "sampling";
  const column = useMemo(
    () => Math.max(60, widest(now.candidates.map((each) => tokenName(each.token, each.piece))) + 36),
    [now],
  );
  const [all, links, byNumber] = useMemo(() => {
    const root: Node = { candidate: null, children: [] };
    const nodes = new Map<number | null, Node>([[null, root]]);
    for (const candidate of now.candidates) {
      const node = { candidate, children: [] };
      if (candidate.fate === "pruned" && !pruned.value) continue;
      nodes.get(candidate.parent)?.children.push(node);
      nodes.set(candidate.number, node);
    }
    const laid = hierarchy(root) as HierarchyPointNode<Node>;
    laid.each((node) => {
      node.y = node.depth * column;
    });
    lay(laid, []);
    return [laid.descendants(), laid.links(), new Map(now.candidates.map((each) => [each.number, each]))] as const;
  }, [now, pruned.value]);
  const bottom = Math.max(...all.map((node) => node.x));
  const steps = Math.max(...all.map((node) => node.depth));
  const [across, down] = [(steps + 1) * column + 24, bottom + 40];
  const scale = projector.value ? 24 / 13 : 1; // letters are 13 pixels high
  const path: Candidate[] = [];
  for (let at = byNumber.get(chosen.value ?? -1); at; at = byNumber.get(at.parent ?? -1)) path.unshift(at);
  const lit = new Set(path.map((each) => each.number));
  const picked = path.at(-1);
  const isBest = () => path.every((each, k) => each.token === now.replay.target_out.ids[k]);
  const csv = () =>
    csvOf([
      ["number", "parent", "step", "token", "log_prob", "total", "score", "fate"],
      ...now.candidates.map((each) => [
        each.number,
        each.parent ?? "",
        each.step,
        tokenName(each.token, each.piece),
        each.log_prob,
        each.total,
        each.score,
        each.fate,
      ]),
    ]);
  const show_step = () => {
    if (!picked) return;
    if (!isBest() && !served) {
      error.value = { code: "needs_server", error: "", values: {} };
      return;
    }
    if (!isBest()) again({ prefix: path.map((each) => each.token) });
    select({ view: "step", ...atStep(picked.step) });
  };
  const move = (event: KeyboardEvent) => {
    const here = all.find((node) => node.data.candidate?.number === chosen.value) ?? all[0];
    const level = all.filter((node) => node.depth === here.depth).sort((a, b) => a.x - b.x);
    const to = {
      ArrowLeft: here.parent,
      ArrowRight: here.children?.[0],
      ArrowUp: level[level.indexOf(here) - 1],
      ArrowDown: level[level.indexOf(here) + 1],
    }[event.key];
    if (event.key === "Enter") show_step();
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    if (to?.data.candidate) chosen.value = fixed.value = to.data.candidate.number;
  };
  return (
    <>
      <Formula name="beam" variant={now.decoding.penalty} />
      <p class="explain">{join([say("beam_letters"), say("may_write")])}</p>
      {sampling && <p class="sampling">{say("sampled", { temperature, top_k, top_p, seed })}</p>}
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
      <label>
        <input
          type="checkbox"
          checked={pruned.value}
          onChange={() => {
            pruned.value = !pruned.value;
          }}
        />{" "}
        {say("show_pruned")}
      </label>
      <ol class="hypotheses">
        {now.hypotheses.map((each, k) => (
          <li key={k}>
            <b>
              <bdi lang="">{each.text || say("nothing")}</bdi>
            </b>{" "}
            {each.score === null ? "" : show(each.score, 4)}
            {each.finished ? "" : ` (${say("unfinished")})`}
          </li>
        ))}
      </ol>
      <div
        class="scroll forest"
        role="img"
        tabIndex={0}
        onKeyDown={move}
        aria-label={`${say("view_beam")}. ${picked ? `${isolate(tokenName(picked.token, picked.piece))}, ${say(picked.fate)}` : say("hover_tree")}`}
      >
        <svg ref={drawing} class="tree" width={scale * across} height={scale * down} viewBox={`0 0 ${across} ${down}`}>
          <g transform={"translate(24,20)"}>
            {links.map((link, k) => (
              <path
                key={k}
                class={lit.has(link.target.data.candidate!.number) ? "lit" : ""}
                d={`M${link.source.y + 4},${link.source.x}C${link.source.y + column / 2},${link.source.x} ${link.target.y - column / 2},${link.target.x} ${link.target.y - 4},${link.target.x}`}
              />
            ))}
            {all.map((node) => {
              const each = node.data.candidate;
              return (
                each && (
                  <g
                    key={each.number}
                    transform={`translate(${node.y},${node.x})`}
                    class={`node ${each.fate} ${lit.has(each.number) ? "on" : ""}`}
                    onPointerEnter={(event) => {
                      if (event.pointerType === "mouse" && fixed.value === null) chosen.value = each.number;
                    }}
                    onClick={() => {
                      if (fixed.value === each.number) show_step();
                      else chosen.value = fixed.value = each.number;
                    }}
                  >
                    <circle r="4" />
                    <text x="7" y="4">
                      {isolate(tokenName(each.token, each.piece))}
                    </text>
                  </g>
                )
              );
            })}
          </g>
        </svg>
      </div>
      <p aria-live="polite">
        {picked
          ? `${isolate(tokenName(picked.token, picked.piece))} · log p ${show(picked.log_prob)} · Σ log p ${show(picked.total)} · ${say("score")} ${show(picked.score)} · ${say(picked.fate)}`
          : say("hover_tree")}
      </p>
      {picked && fixed.value !== null && (
        <p>
          <button type="button" disabled={busy.value} onClick={show_step}>
            {say(isBest() ? "open_step" : "go_on_here")}
          </button>
        </p>
      )}
      <p class="legend tree">
        {(["kept", "finished", "pruned"] as const).map((fate) => (
          <span key={fate}>
            <svg width="12" height="12" class={`tree ${fate}`} aria-hidden="true">
              <g class={fate}>
                <circle cx="6" cy="6" r="4" />
              </g>
            </svg>{" "}
            {say(fate)}
          </span>
        ))}
        <Save name={say("view_beam")} svg={() => drawing.current && alone(drawing.current)} csv={csv} />
      </p>
      <Finished byNumber={byNumber} />
    </>
  );
}
