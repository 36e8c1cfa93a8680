// Input, positions, blocks, decoder steps, loss, the beam's tree, and one sentence over the training.
import { signal, useSignal } from "@preact/signals";
import { hierarchy, type HierarchyPointNode } from "d3-hierarchy";
import { useEffect, useMemo } from "preact/hooks";
import { again, begin, busy, error, mean, model, positionsOf, saw, served, tokensOf, trace, writes } from "../data";
import { Absent, Ask, Choice, Formula, Heatmap, Missing, Slider, Strip, TokenRow, headName, labels, part, piece, upTo, widest } from "../parts";
import { hasCross, inColumns, number, select, stacks } from "../state";
import { useFloats } from "../use";
import type { Candidate, Replay, Step, Tokens } from "../wire";
import { join, percent, say, show } from "../words";
import { Alignment, headWidth, useBias } from "./attention";

const chooseCheckpoint = (checkpoint: string) => again({ checkpoint });

/** Each token, its number, and its row of the embedding matrix. */
function Embedded(props: { title: string; tokens: Tokens; begin?: number; of: string; axis: "i" | "t" }) {
  const width = model.value!.config.width;
  const rows = useFloats(props.of);
  const names = labels(props.tokens);
  const at = number(props.axis, names.length);
  return (
    <>
      <h3>{props.title}</h3>
      <TokenRow tokens={props.tokens} begin={props.begin} title={props.title} chosen={at} onChoose={(k) => select({ [props.axis]: k })} />
      {rows ? names.map((name, k) => <p class={k === at ? "vector lit" : "vector"} key={k}><b>{name}</b> <Strip values={rows.subarray(k * width, (k + 1) * width)} title={name} /></p>) : <Absent of={rows} />}
    </>
  );
}

export function Input() {
  const now = trace.value!;
  const { checkpoints } = model.value!;
  return (
    <>
      {checkpoints.length > 0 && <Choice title={say("checkpoint")} value={now.checkpoint} of={[["", say("the_model")], ...checkpoints.map((name) => [name, name] as const)]} onChoose={chooseCheckpoint} />}
      {now.normalised !== now.text && <p>{join([say("normalised"), ""])}<b lang="">{now.normalised}</b></p>}
      {stacks().includes("encoder") && <Embedded title={say("source")} tokens={now.source} of="encoder.embedding" axis="i" />}
      {stacks().includes("decoder") && <Embedded title={say("target_in")} tokens={now.replay.decoder_in} begin={begin()} of="decoder.embedding" axis={hasCross() ? "t" : "i"} />}
      <h3>{say("target_out")}</h3>
      <TokenRow tokens={now.replay.target_out} title={say("target_out")} chosen={number("t", now.replay.target_out.ids.length)} onChoose={(t) => select({ t })} />
    </>
  );
}

/** Rotary positions: the angles of each pair of coordinates, and a query of the first head before and after. */
function Rotary(props: { names: string[]; i: number }) {
  const { names, i } = props;
  const attention = `${stacks()[0]}.0.self`;
  const asking = `${attention}.queries`;
  const queries = useFloats(asking);
  const rotated = useFloats(`${attention}.rotated_queries`);
  const width = headWidth();
  const off = trace.value!.what_if.positions_off;
  const angle = (position: number, pair: number) => (off ? 0 : position / 10000 ** ((2 * pair) / width));
  const pairs = useMemo(() => Array.from({ length: width / 2 }, (_, pair) => String(pair)), [width]);
  const cosines = useMemo(() => names.flatMap((_, position) => pairs.map((_, pair) => Math.cos(angle(position, pair)))), [names, pairs, off]);
  const strip = (values: Float32Array, title: string) => <p class="vector"><b>{title}</b> <Strip values={values.subarray(i * width, (i + 1) * width)} title={title} /></p>;
  return (
    <>
      {!off && <><p>{say("rotary")}</p><Formula name="angle" /><p>{say("angle_letters")}</p></>}
      <svg class="turns" viewBox="0 0 640 90" role="img" aria-label={say("dials", { token: names[i] })}>
        {pairs.slice(0, 8).map((pair, d) => <g key={pair} transform={`translate(${40 + d * 78},42)`}><circle r="30" /><line x2={30 * Math.cos(angle(i, d))} y2={-30 * Math.sin(angle(i, d))} /><text y="46" text-anchor="middle">{pair}</text></g>)}
      </svg>
      <Heatmap title={say("cosines")} rows={names} columns={pairs} numbers={cosines} signed turned={inColumns()} begin={[begin(), 0]} chosen={[i, number("d", pairs.length)]} onChoose={(row, d) => select({ i: row, d })} />
      {queries && rotated ? <><p>{say("query_turned", { head: headName(attention, 0), token: names[i] })}</p>{strip(queries, "q")}{strip(rotated, "R q")}</>
        : asking in trace.value!.shapes ? <Absent of={queries && (rotated as null | undefined)} title="q, R q" /> : <Missing>{say("no_attention")}</Missing>}
    </>
  );
}

/** Positions that are added to the embeddings a: sinusoidal ones and learned ones. */
function Added(props: { names: string[]; i: number }) {
  const { names, i } = props;
  const { width } = model.value!.config;
  const before = useFloats(`${stacks()[0]}.embedding`);
  const after = useFloats(`${stacks()[0]}.input`);
  const encoding = useMemo(() => before && after && after.map((value, k) => value - before[k]), [before, after]);
  const columns = useMemo(() => Array.from({ length: width }, (_, c) => String(c)), [width]);
  if (!before || !after || !encoding) return <Absent of={before && (after as null | undefined)} title="a, e" />;
  return (
    <>
      <Formula name="added" />
      <p>{say("added_letters")}</p>
      <Heatmap title={say("encoding")} rows={names} columns={columns} numbers={encoding} signed turned={inColumns()} begin={[begin(), 0]} chosen={[i, number("c", width)]} onChoose={(row, c) => select({ i: row, c })} />
      {Object.entries({ a: before, e: encoding, "a + e": after }).map(([title, values]) => (
        <p class="vector" key={title}><b>{title}</b> <Strip values={values.subarray(i * width, (i + 1) * width)} title={title} /></p>
      ))}
    </>
  );
}

/** Positions that are a bias on the scores of self-attention: those of one head of the first block. */
function Biased(props: { names: string[]; i: number }) {
  const { names, i } = props;
  const { heads } = model.value!.config;
  const head = number("head", heads);
  const attention = `${stacks()[0]}.0.self`;
  const bias = useBias(attention, head, names.length, names.length);
  if (trace.value!.what_if.positions_off) return null;
  return (
    <>
      <Formula name="bias" />
      <p>{say("alibi")}</p>
      <Choice title={say("head")} value={head} of={upTo(heads)} onChoose={(chosen) => select({ head: chosen })} />
      {bias ? <Heatmap title={say("bias")} rows={names} columns={names} numbers={bias} signed turned={inColumns()} begin={[begin(), begin()]} chosen={[i, number("j", names.length)]} onChoose={(row, j) => select({ i: row, j })} />
        : `${attention}.bias` in trace.value!.shapes ? <Absent of={bias} title={say("bias")} /> : <Missing>{say("no_attention")}</Missing>}
    </>
  );
}

/** How each positional encoding is drawn; a new one needs its row here. */
const DRAWINGS = { sinusoidal: Added, learned: Added, rotary: Rotary, alibi: Biased };

export function PositionsView() {
  const positions = positionsOf(model.value!.config);
  const now = trace.value!;
  const names = labels(tokensOf(stacks()[0]));
  const i = number("i", names.length);
  const off = now.what_if.positions_off;
  const Shown = positions !== "none" && DRAWINGS[positions];
  return (
    <>
      <p>{positions === "none" ? say("positions_are_off") : say("positions_are", { how: say(`positions_${positions}`) })}</p>
      {Shown && <>
        <Ask change={{ positions_off: !off }}>{say(off ? "positions_on" : "positions_off")}</Ask>
        <Slider title={say("position")} value={i} most={names.length - 1} onMove={(at) => select({ i: at })} shown={`${i} · ${names[i]}`} />
        <Shown names={names} i={i} />
      </>}
    </>
  );
}

function Stage(props: { name: string; title: string; at: number }) {
  const values = useFloats(props.name);
  const width = model.value!.config.width;
  if (values === undefined) return <tr><th scope="row">{props.title}</th><td>…</td></tr>;
  if (values === null) return <tr><th scope="row">{props.title}</th><td colSpan={4}><Absent of={null} /></td></tr>;
  const one = values.subarray(props.at * width, (props.at + 1) * width);
  const mean = one.reduce((a, b) => a + b, 0) / width;
  const deviation = Math.sqrt(one.reduce((a, b) => a + (b - mean) ** 2, 0) / width);
  const norm = Math.sqrt(one.reduce((a, b) => a + b * b, 0));
  return <tr><th scope="row">{props.title}</th><td><Strip values={one} title={props.title} /></td><td class="number">{show(mean)}</td><td class="number">{show(deviation)}</td><td class="number">{show(norm)}</td></tr>;
}

/** A block of the stack that reads the source. */
export function Block() {
  const config = model.value!.config;
  const [stack] = stacks();
  const [layers, tokens] = [config[`${stack}_layers`], tokensOf(stack)];
  const layer = number("layer", layers);
  const i = number("i", tokens.ids.length);
  const step = useSignal(9);
  const entering = layer ? `${stack}.${layer - 1}.feed_forward.${config.norm === "pre" ? "residual" : "norm"}` : `${stack}.input`;
  const sublayer = (part: string, title: string): [string, string][] => config.norm === "pre"
    ? [[`${part}.norm`, say("norm")], [`${part}.output`, title], [`${part}.residual`, "+"]]
    : [[`${part}.output`, title], [`${part}.residual`, "+"], [`${part}.norm`, say("norm")]];
  const stages: [string, string][] = [[entering, "x"], ...[...sublayer("self", say(`mixer_${config[`${stack}_mixer`]}`)), ...sublayer("feed_forward", say("feed_forward"))]
    .map(([name, title]): [string, string] => [`${stack}.${layer}.${name}`, title])];
  return (
    <>
      <Formula name="block" variant={config.norm} />
      <Slider title={say("layer")} value={layer} most={layers - 1} onMove={(at) => select({ layer: at })} />
      <TokenRow tokens={tokens} begin={begin()} chosen={i} onChoose={(at) => select({ i: at })} title={say(stack === "encoder" ? "source" : "target_in")} />
      <Slider title={say("steps")} value={Math.min(step.value, stages.length)} least={1} most={stages.length} onMove={(at) => { step.value = at; }} />
      <div class="scroll" tabIndex={0} role="region" aria-label={say("view_block", { stack: say(stack) })}><table class="stages">
        <thead><tr><td /><th scope="col">{say("vector")}</th><th scope="col">{say("mean")}</th><th scope="col">{say("deviation")}</th><th scope="col">{say("length")}</th></tr></thead>
        <tbody>{stages.slice(0, step.value).map(([name, title]) => <Stage key={name} name={name} title={title} at={i} />)}</tbody>
      </table></div>
    </>
  );
}

/** A distribution at a temperature: its most probable tokens, one of which was chosen, and the rest. */
function Distribution(props: { step: Step; chosen: number; title: string; onChoose?: (id: number) => void }) {
  const { step, onChoose } = props;
  const { temperatures } = model.value!;
  const warmth = useSignal(temperatures.indexOf(1));
  const T = temperatures[warmth.value];
  const [logSum, entropy] = step.tempered[warmth.value];
  const probability = (logProb: number | null) => (logProb === null ? 0 : Math.exp(logProb / T - logSum));
  const top = step.top.filter((each) => each.log_prob !== null); // the others are never written
  const probabilities = top.map((each) => probability(each.log_prob));
  const rest = Math.max(0, 1 - probabilities.reduce((a, b) => a + b, 0));
  return (
    <>
      <Slider title={say("temperature")} value={warmth.value} most={temperatures.length - 1} onMove={(at) => { warmth.value = at; }} shown={T.toFixed(1)} />
      {onChoose && <p>{served ? say("go_on_from") : say("needs_server_to_go_on")}</p>}
      <div class="scroll" tabIndex={0} role="region" aria-label={props.title}><table class="bars"><caption>{props.title}</caption><tbody>{top.map((each, k) => (
        <tr key={each.id} class={each.id === props.chosen ? "lit" : ""}>
          <th scope="row">{onChoose ? <button type="button" class="link" disabled={!served || busy.value} onClick={() => onChoose(each.id)}>{piece(each.piece)}</button> : piece(each.piece)}</th>
          <td class="wide"><span class="bar" style={{ width: `${100 * probabilities[k]}%` }} /></td><td class="number">{probabilities[k].toFixed(4)}</td></tr>
      ))}<tr><th scope="row"><i>{say("rest")}</i></th><td class="wide"><span class="bar rest" style={{ width: `${100 * rest}%` }} /></td><td class="number">{rest.toFixed(4)}</td></tr></tbody></table></div>
      <p>{say("entropy", { nats: entropy.toFixed(3) })}{step.eos !== null && ` · EOS ${percent(probability(step.eos))}`}</p>
    </>
  );
}

export function StepView() {
  const now = trace.value!;
  const t = number("t", now.replay.steps.length);
  const prefix = labels(now.replay.decoder_in).slice(0, begin() + t + 1);
  const goOn = (id: number) => again({ prefix: [...now.replay.target_out.ids.slice(0, t), id] });
  return (
    <>
      <Slider title={say("step")} value={t} most={now.replay.steps.length - 1} onMove={(at) => select({ t: at })} shown={`${t + 1} / ${now.replay.steps.length}`} />
      <Formula name="step" />
      <p class="explain">{say("may_write")}</p>
      <p class="prefix">{prefix.map((name, k) => <span class={`token ${part(k, begin())}`} key={k}>{name}</span>)} → <span class="token chosen">{labels(now.replay.target_out)[t]}</span></p>
      <Distribution step={now.replay.steps[t]} chosen={now.replay.target_out.ids[t]} title={say("top")} onChoose={goOn} />
    </>
  );
}

/** What a label belongs to: a token, or the whole sentence. */
function labelled(): string[] {
  const now = trace.value!;
  return model.value!.config.labels === "token" ? labels(now.source).slice(0, -1) : [now.text];
}

/** The encoder's answer: a label each, and how probable it is. */
export function Labels() {
  const { target_out, steps } = trace.value!.replay;
  const t = number("t", steps.length);
  return (
    <>
      <p class="explain">{say("never_special")}</p>
      <div class="scroll" tabIndex={0} role="region" aria-label={say("labels")}><table class="bars labels"><thead><tr><th scope="col">{say("source")}</th><th scope="col">{say("label")}</th><th scope="col" colSpan={2}>p</th></tr></thead>
        <tbody>{labelled().map((name, k) => {
          const probability = Math.exp(steps[k].top[0].log_prob!);
          return <tr key={k} class={k === t ? "lit" : ""} onClick={() => select({ t: k })}><th scope="row" lang="">{name}</th><td>{labels(target_out)[k]}</td>
            <td class="wide"><span class="bar" style={{ width: `${100 * probability}%` }} /></td><td class="number">{probability.toFixed(4)}</td></tr>;
        })}</tbody></table></div>
      {steps.length > 1 && <Slider title={say("position")} value={t} most={steps.length - 1} onMove={(at) => select({ t: at })} shown={`${t} · ${labelled()[t]}`} />}
      <Distribution step={steps[t]} chosen={target_out.ids[t]} title={say("top_labels")} />
    </>
  );
}

/** −log p of each token, its rank, and the mean; the longest bar is `most`. */
function Losses(props: { title: string; token: string; of: Replay; most: number }) {
  const { losses, smoothed, ranks, target_out } = props.of;
  return (
    <>
      <h3>{props.title}</h3>
      <div class="scroll" tabIndex={0} role="region" aria-label={props.title}><table class="bars"><thead><tr><th scope="col">{props.token}</th><th scope="col" colSpan={2}>−log p</th><th scope="col">{say("rank")}</th><th scope="col">{say("smoothed", { share: model.value!.smoothing })}</th></tr></thead>
        <tbody>{labels(target_out).map((name, k) => (
          <tr key={k} class={ranks[k] ? "astray" : ""}><th scope="row">{writes() ? name : `${labelled()[k]} → ${name}`}</th><td class="wide"><span class="bar" style={{ width: `${(100 * losses[k]) / props.most}%` }} /></td>
            <td class="number">{show(losses[k], 4)}</td><td class="number">{ranks[k] + 1}</td><td class="number">{show(smoothed[k], 4)}</td></tr>
        ))}</tbody>
        <tfoot><tr><th scope="row">{say("mean")}</th><td /><td class="number" data-mean={mean(losses)}>{show(mean(losses), 4)}</td><td /><td class="number">{show(mean(smoothed), 4)}</td></tr></tfoot></table></div>
    </>
  );
}

export function Loss() {
  const { reference, replay } = trace.value!;
  const most = Math.max(...replay.losses, ...(reference?.losses ?? []), 0.1);
  const text = writes(), variant = text ? "" : "labels";
  return (
    <>
      <Formula name="loss" variant={variant} />
      <Formula name="loss.smoothed" variant={variant} />
      {reference ? <Losses title={say(text ? "reference" : "reference_labels")} token={say(text ? "right_token" : "right_label")} of={reference} most={most} /> : <p>{say("give_reference")}</p>}
      <Losses title={say(text ? "own_prefix" : "own_labels")} token={say(text ? "own_token" : "label")} of={replay} most={most} />
    </>
  );
}

interface Node { candidate: Candidate | null; children: Node[] }

/** A prefix and its best continuations lie on one line, the next that is `free` in each of their columns; the others below. */
function lay(first: HierarchyPointNode<Node>, free: number[]): void {
  const path = [first];
  for (let next = first.children?.[0]; next; next = next.children?.[0]) path.push(next);
  const line = Math.max(...path.map((node) => free[node.depth] ?? 0));
  for (const node of path) { node.x = 19 * line; free[node.depth] = line + 1; }
  for (const node of path.reverse()) for (const other of node.children?.slice(1) ?? []) lay(other, free);
}

export function Beam() {
  const now = trace.value!;
  const pruned = useSignal(now.candidates.length < 160);
  const chosen = useMemo(() => signal<number | null>(null), [now]); // another search has other nodes
  const { strategy, beam, length_penalty, temperature, top_k, top_p, seed } = now.decoding;
  const sampling = strategy === "sampling";
  const column = useMemo(() => Math.max(60, widest(now.candidates.map((each) => piece(each.piece))) + 36), [now]);
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
    laid.each((node) => { node.y = node.depth * column; });
    lay(laid, []);
    return [laid.descendants(), laid.links(), new Map(now.candidates.map((each) => [each.number, each]))] as const;
  }, [now, pruned.value]);
  const bottom = Math.max(...all.map((node) => node.x));
  const steps = Math.max(...all.map((node) => node.depth));
  const path: Candidate[] = [];
  for (let at = byNumber.get(chosen.value ?? -1); at; at = byNumber.get(at.parent ?? -1)) path.unshift(at);
  const lit = new Set(path.map((each) => each.number));
  const picked = path.at(-1);
  const show_step = () => {
    if (!picked) return;
    const isBest = path.every((each, k) => each.token === now.replay.target_out.ids[k]);
    if (!isBest && !served) { error.value = say("needs_server"); return; }
    if (!isBest) again({ prefix: path.map((each) => each.token) });
    select({ view: "step", t: picked.step });
  };
  const move = (event: KeyboardEvent) => {
    const here = all.find((node) => node.data.candidate?.number === chosen.value) ?? all[0];
    const level = all.filter((node) => node.depth === here.depth).sort((a, b) => a.x - b.x);
    const to = {
      ArrowLeft: here.parent, ArrowRight: here.children?.[0],
      ArrowUp: level[level.indexOf(here) - 1], ArrowDown: level[level.indexOf(here) + 1],
    }[event.key];
    if (event.key === "Enter") show_step();
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    if (to?.data.candidate) chosen.value = to.data.candidate.number;
  };
  return (
    <>
      <Formula name="beam" />
      <p class="explain">{join([say("beam_letters"), say("may_write")])}</p>
      {sampling && <p class="sampling">{say("sampled", { temperature, top_k, top_p, seed })}</p>}
      <Slider title={say("beam")} value={beam} least={1} most={10} disabled={!served || sampling} onMove={(value) => again({ beam: value })} />
      <Slider title={say("length_penalty")} value={length_penalty} most={2} step={0.1} disabled={!served} onMove={(value) => again({ length_penalty: value })} />
      {!served && <em>{say("needs_server")}</em>}
      <label><input type="checkbox" checked={pruned.value} onChange={() => { pruned.value = !pruned.value; }} /> {say("show_pruned")}</label>
      <ol class="hypotheses">{now.hypotheses.map((each, k) => <li key={k}><b lang="">{each.text || say("nothing")}</b> {each.score === null ? "" : show(each.score, 4)}{each.finished ? "" : ` (${say("unfinished")})`}</li>)}</ol>
      <div class="scroll forest" role="img" tabIndex={0} onKeyDown={move} aria-label={`${say("view_beam")}. ${picked ? `${piece(picked.piece)}, ${say(picked.fate)}` : say("hover_tree")}`}>
        <svg class="tree" width={(steps + 1) * column + 24} height={bottom + 40}>
          <g transform={"translate(24,20)"}>
            {links.map((link, k) => <path key={k} class={lit.has(link.target.data.candidate!.number) ? "lit" : ""} d={`M${link.source.y + 4},${link.source.x}C${link.source.y + column / 2},${link.source.x} ${link.target.y - column / 2},${link.target.x} ${link.target.y - 4},${link.target.x}`} />)}
            {all.map((node) => {
              const each = node.data.candidate;
              return each && (
                <g key={each.number} transform={`translate(${node.y},${node.x})`} class={`node ${each.fate} ${lit.has(each.number) ? "on" : ""}`}
                  onMouseEnter={() => { chosen.value = each.number; }} onClick={show_step}>
                  <circle r="4" /><text x="7" y="4">{piece(each.piece)}</text>
                </g>
              );
            })}
          </g>
        </svg>
      </div>
      <p aria-live="polite">{picked ? `${piece(picked.piece)} · log p ${show(picked.log_prob)} · Σ log p ${show(picked.total)} · ${say("score")} ${show(picked.score)} · ${say(picked.fate)}` : say("hover_tree")}</p>
    </>
  );
}

export function Training() {
  const now = trace.value!;
  const playing = useSignal(false);
  const all = [...model.value!.checkpoints, ""];
  const at = Math.max(0, all.indexOf(now.checkpoint));
  const title = (name: string) => name || say("the_model");
  const [first, ...later] = model.value!.checkpoints.map((name) => Number(name.split("-").at(-1)));
  const late = first > (later.at(-1) ?? first) / 2;
  useEffect(() => {
    if (!playing.value || busy.value) return;
    if (at === all.length - 1 || error.value) { playing.value = false; return; }
    const timer = setTimeout(() => chooseCheckpoint(all[at + 1]), 400);
    return () => clearTimeout(timer);
  }, [playing.value, busy.value, at]);
  if (!served) return <Missing>{say("needs_server")}</Missing>;
  if (all.length === 1) return <Missing>{say("no_checkpoints")}</Missing>;
  return (
    <>
      <Slider title={say("checkpoint")} value={at} most={all.length - 1} onMove={(k) => { playing.value = false; chooseCheckpoint(all[k]); }} shown={title(all[at])} />
      <p><button type="button" disabled={playing.value} onClick={() => { playing.value = true; chooseCheckpoint(all[0]); }}>▶ {say("play")}</button>{all.some((name) => !saw({ checkpoint: name })) && ` ${say("press_play")}`}</p>
      {late && <Missing>{say("late")}</Missing>}
      <div class="scroll" tabIndex={0} role="region" aria-label={say("view_training")}><table class="checkpoints">
        <thead><tr><th scope="col">{say("checkpoint")}</th><th scope="col">{say("target_out")}</th><th scope="col">{say("loss_own")}</th><th scope="col">{say("loss_reference")}</th></tr></thead>
        <tbody>{all.map((name, k) => {
          const found = saw({ checkpoint: name });
          return <tr key={name} class={k === at ? "lit" : ""}><th scope="row">{title(name)}</th><td lang="">{found ? found.output || say("nothing") : "–"}</td>
            <td class="number">{found ? show(found.own, 4) : ""}</td><td class="number">{found?.reference != null ? show(found.reference, 4) : ""}</td></tr>;
        })}</tbody></table></div>
      {hasCross() && <Alignment />}
    </>
  );
}
