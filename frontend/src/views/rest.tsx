// Input, positions, blocks, decoder steps, loss and the beam's tree.
import { useSignal } from "@preact/signals";
import { hierarchy, tree } from "d3-hierarchy";
import { asked, busy, look, model, served, trace, type Candidate } from "../data";
import { Formula, Heatmap, Missing, Slider, Strip, TokenRow, labels } from "../parts";
import { number, select, selection } from "../state";
import { useFloats } from "../use";
import { percent, say, show } from "../words";

export function Input() {
  const now = trace.value!;
  const width = model.value!.config.width;
  const source = useFloats("encoder.embedding");
  const target = useFloats("decoder.embedding");
  return (
    <>
      <h3>{say("source")}</h3>
      <TokenRow tokens={now.source} title={say("source")} chosen={number("i", now.source.ids.length)} onChoose={(i) => select({ i })} />
      {source ? now.source.ids.map((_, k) => <p class="vector" key={k}><b>{labels(now.source)[k]}</b> <Strip values={source.subarray(k * width, (k + 1) * width)} title={labels(now.source)[k]} /></p>) : <Missing />}
      <h3>{say("target_in")}</h3>
      <TokenRow tokens={now.replay.in} title={say("target_in")} />
      {target ? now.replay.in.ids.map((_, k) => <p class="vector" key={k}><b>{labels(now.replay.in)[k]}</b> <Strip values={target.subarray(k * width, (k + 1) * width)} title={labels(now.replay.in)[k]} /></p>) : <Missing />}
      <h3>{say("target_out")}</h3>
      <TokenRow tokens={now.replay.out} title={say("target_out")} />
    </>
  );
}

export function PositionsView() {
  const config = model.value!.config;
  const now = trace.value!;
  const before = useFloats("encoder.embedding");
  const after = useFloats("encoder.input");
  const queries = useFloats("encoder.0.self.queries");
  const turned = useFloats("encoder.0.self.turned_queries");
  const n = now.source.ids.length;
  const i = number("i", n);
  const names = labels(now.source);
  const off = now.what_if.positions_off;
  const dims = Array.from({ length: config.width }, (_, d) => String(d));
  const encoding = before && after ? after.map((value, k) => value - before[k]) : null;
  const width = config.width / config.heads;
  return (
    <>
      <p><b>positions = {config.positions}</b></p>
      {off && <p class="changed">{say("positions_are_off")} <b>{now.output}</b></p>}
      <p><button type="button" disabled={!served || busy.value} onClick={() => look({ ...asked.value!, positions_off: !off })}>{say(off ? "positions_on" : "positions_off")}</button>
        {!served && <em> {say("needs_server")}</em>}</p>
      <Slider title={say("position")} value={i} most={n - 1} onMove={(at) => select({ i: at })} shown={`${i} · ${names[i]}`} />
      {config.positions === "rotary" ? (queries && turned ? (
        <>
          <p>{say("rotary")}</p>
          <p class="vector"><b>q</b> <Strip values={queries.subarray(i * width, (i + 1) * width)} title="q" /></p>
          <p class="vector"><b>R q</b> <Strip values={turned.subarray(i * width, (i + 1) * width)} title="R q" /></p>
          <svg class="turns" viewBox="0 0 640 90" role="img" aria-label={say("rotary")}>
            {Array.from({ length: Math.min(8, width / 2) }, (_, d) => {
              const angle = i / 10000 ** ((2 * d) / width);
              return <g key={d} transform={`translate(${40 + d * 78},42)`}><circle r="30" /><line x2={30 * Math.cos(angle)} y2={-30 * Math.sin(angle)} /><text y="46" text-anchor="middle">{d}</text></g>;
            })}
          </svg>
        </>
      ) : <Missing />) : encoding ? <Heatmap title={say("encoding")} rows={names} columns={dims} numbers={encoding} signed chosen={[i, number("j", dims.length)]} onChoose={(row, j) => select({ i: row, j })} /> : <Missing />}
      {before && after && (
        <>
          <p class="vector"><b>a</b> <Strip values={before.subarray(i * config.width, (i + 1) * config.width)} title="a" /></p>
          {config.positions !== "rotary" && <p class="vector"><b>e</b> <Strip values={encoding!.subarray(i * config.width, (i + 1) * config.width)} title="e" /></p>}
          <p class="vector"><b>{config.positions === "rotary" ? "a" : "a + e"}</b> <Strip values={after.subarray(i * config.width, (i + 1) * config.width)} title="a + e" /></p>
        </>
      )}
    </>
  );
}

function Stage(props: { name: string; title: string; at: number }) {
  const values = useFloats(props.name);
  const width = model.value!.config.width;
  if (values === undefined) return <tr><th scope="row">{props.title}</th><td>…</td></tr>;
  if (values === null) return <tr><th scope="row">{props.title}</th><td colSpan={4}><Missing /></td></tr>;
  const one = values.subarray(props.at * width, (props.at + 1) * width);
  const mean = one.reduce((a, b) => a + b, 0) / width;
  const deviation = Math.sqrt(one.reduce((a, b) => a + (b - mean) ** 2, 0) / width);
  const norm = Math.sqrt(one.reduce((a, b) => a + b * b, 0));
  return <tr><th scope="row">{props.title}</th><td><Strip values={one} title={props.title} /></td><td class="number">{show(mean)}</td><td class="number">{show(deviation)}</td><td class="number">{show(norm)}</td></tr>;
}

export function Block() {
  const config = model.value!.config;
  const now = trace.value!;
  const layer = number("layer", config.encoder_layers);
  const i = number("i", now.source.ids.length);
  const step = useSignal(9);
  const entering = layer ? `encoder.${layer - 1}.feed_forward.${config.norm === "pre" ? "residual" : "norm"}` : "encoder.input";
  const sublayer = (part: string, title: string): [string, string][] => config.norm === "pre"
    ? [[`${part}.norm`, "norm"], [`${part}.output`, title], [`${part}.residual`, "+"]]
    : [[`${part}.output`, title], [`${part}.residual`, "+"], [`${part}.norm`, "norm"]];
  const stages: [string, string][] = [[entering, "x"], ...[...sublayer("self", say("attention")), ...sublayer("feed_forward", say("feed_forward"))]
    .map(([name, title]): [string, string] => [`encoder.${layer}.${name}`, title])];
  return (
    <>
      <Slider title={say("layer")} value={layer} most={config.encoder_layers - 1} onMove={(at) => select({ layer: at })} />
      <TokenRow tokens={now.source} chosen={i} onChoose={(at) => select({ i: at })} title={say("source")} />
      <Slider title={say("steps")} value={Math.min(step.value, stages.length)} least={1} most={stages.length} onMove={(at) => { step.value = at; }} />
      <div class="scroll" tabIndex={0} role="region" aria-label={say("view_block")}><table class="stages">
        <thead><tr><td /><th scope="col">{say("vector")}</th><th scope="col">{say("mean")}</th><th scope="col">{say("deviation")}</th><th scope="col">{say("length")}</th></tr></thead>
        <tbody>{stages.slice(0, step.value).map(([name, title]) => <Stage key={name} name={name} title={title} at={i} />)}</tbody>
      </table></div>
    </>
  );
}

export function StepView() {
  const now = trace.value!;
  const t = number("t", now.replay.steps.length);
  const step = now.replay.steps[t];
  const logits = useFloats("logits");
  const temperature = useSignal(1);
  const T = temperature.value;
  // PAD and BOS, 0 and 2, are never written.
  const row = logits && logits.slice(t * (logits.length / now.replay.steps.length), (t + 1) * (logits.length / now.replay.steps.length));
  if (row) row[0] = row[2] = -Infinity;
  let chances = step.top.map((each) => Math.exp(each.log_prob ?? -Infinity));
  let rest = step.rest, entropy = step.entropy;
  if (row && T !== 1) {
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const powers = Array.from(row, (z) => Math.exp((z - most) / T));
    const sum = powers.reduce((a, b) => a + b, 0);
    chances = step.top.map((each) => powers[each.id] / sum);
    rest = Math.max(0, 1 - chances.reduce((a, b) => a + b, 0));
    entropy = -powers.reduce((a, p) => a + (p > 0 ? (p / sum) * Math.log(p / sum) : 0), 0);
  }
  return (
    <>
      <Slider title={say("step")} value={t} most={now.replay.steps.length - 1} onMove={(at) => select({ t: at })} shown={`${t + 1} / ${now.replay.steps.length}`} />
      <Formula name="step" />
      <p class="prefix">{labels(now.replay.in).slice(0, t + 1).map((name, k) => <span class="token" key={k}>{name}</span>)} → <span class="token chosen">{labels(now.replay.out)[t]}</span></p>
      <Slider title={say("temperature")} value={T} least={0.2} most={3} step={0.1} onMove={(at) => { temperature.value = at; }} shown={T.toFixed(1)} disabled={!row} />
      {!row && logits === null && <Missing />}
      <table class="bars"><caption>{say("top")}</caption><tbody>{step.top.map((each, k) => (
        <tr key={each.id} class={each.id === now.replay.out.ids[t] ? "lit" : ""}><th scope="row">{each.piece.replaceAll("▁", "␣")}</th>
          <td class="wide"><span class="bar" style={{ width: `${100 * chances[k]}%` }} /></td><td class="number">{chances[k].toFixed(4)}</td></tr>
      ))}<tr><th scope="row"><i>{say("rest")}</i></th><td class="wide"><span class="bar rest" style={{ width: `${100 * rest}%` }} /></td><td class="number">{rest.toFixed(4)}</td></tr></tbody></table>
      <p>{say("entropy", { nats: entropy.toFixed(3) })} · EOS {percent(Math.exp(step.eos))}</p>
    </>
  );
}

export function Loss() {
  const now = trace.value!;
  const smoothing = model.value!.smoothing;
  const one = (title: string, replay: NonNullable<typeof now.reference>) => {
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    const most = Math.max(...replay.losses, 0.1);
    return (
      <>
        <h3>{title}</h3>
        <div class="scroll" tabIndex={0} role="region" aria-label={title}><table class="bars"><thead><tr><th scope="col">{say("right_token")}</th><th scope="col" colSpan={2}>−log p</th><th scope="col">{say("rank")}</th><th scope="col">{say("smoothed", { share: smoothing })}</th></tr></thead>
          <tbody>{labels(replay.out).map((name, k) => (
            <tr key={k} class={replay.ranks[k] ? "astray" : ""}><th scope="row">{name}</th><td class="wide"><span class="bar" style={{ width: `${(100 * replay.losses[k]) / most}%` }} /></td>
              <td class="number">{show(replay.losses[k], 4)}</td><td class="number">{replay.ranks[k] + 1}</td><td class="number">{show(replay.smoothed[k], 4)}</td></tr>
          ))}</tbody>
          <tfoot><tr><th scope="row">{say("mean")}</th><td /><td class="number" data-mean>{show(mean(replay.losses), 6)}</td><td /><td class="number">{show(mean(replay.smoothed), 4)}</td></tr></tfoot></table></div>
      </>
    );
  };
  return (
    <>
      <Formula name="loss" />
      {now.reference ? one(say("reference"), now.reference) : <p>{say("give_reference")}</p>}
      {one(say("own_prefix"), now.replay)}
    </>
  );
}

interface Node { candidate: Candidate | null; children: Node[] }

export function Beam() {
  const now = trace.value!;
  const pruned = useSignal(now.candidates.length < 160);
  const chosen = useSignal<number | null>(null);
  const beam = asked.value?.beam ?? model.value!.decoding.beam;
  const penalty = asked.value?.length_penalty ?? model.value!.decoding.length_penalty;
  const root: Node = { candidate: null, children: [] };
  const nodes = new Map<number | null, Node>([[null, root]]);
  for (const candidate of now.candidates) {
    const node = { candidate, children: [] };
    if (candidate.fate === "pruned" && !pruned.value) continue;
    nodes.get(candidate.parent)?.children.push(node);
    nodes.set(candidate.number, node);
  }
  const laid = tree<Node>().nodeSize([19, 96])(hierarchy(root));
  const all = laid.descendants();
  const top = Math.min(...all.map((node) => node.x)), bottom = Math.max(...all.map((node) => node.x));
  const steps = Math.max(...all.map((node) => node.depth));
  const path = new Set<number | null>();
  const byNumber = new Map(now.candidates.map((each) => [each.number, each]));
  for (let at = chosen.value; at !== null && at !== undefined; at = byNumber.get(at)?.parent ?? null) path.add(at);
  const picked = chosen.value === null ? null : byNumber.get(chosen.value);
  const again = (change: { beam?: number; length_penalty?: number }) => look({ ...asked.value!, ...change });
  return (
    <>
      <Formula name="beam" />
      <Slider title={say("beam")} value={beam} least={1} most={10} disabled={!served || busy.value} onMove={(value) => again({ beam: value })} />
      <Slider title={say("length_penalty")} value={penalty} most={2} step={0.1} disabled={!served || busy.value} onMove={(value) => again({ length_penalty: value })} />
      {!served && <em>{say("needs_server")}</em>}
      <label><input type="checkbox" checked={pruned.value} onChange={() => { pruned.value = !pruned.value; }} /> {say("show_pruned")}</label>
      <ol class="hypotheses">{now.hypotheses.map((each, k) => <li key={k}><b>{each.text}</b> {each.score === null ? "" : show(each.score, 4)}{each.finished ? "" : ` (${say("unfinished")})`}</li>)}</ol>
      <div class="scroll" tabIndex={0} role="region" aria-label={say("view_beam")}>
        <svg class="tree" width={steps * 96 + 130} height={bottom - top + 40} role="group" aria-label={say("view_beam")}>
          <g transform={`translate(24,${20 - top})`}>
            {laid.links().map((link, k) => <path key={k} class={path.has(link.target.data.candidate!.number) ? "lit" : ""} d={`M${link.source.y + 4},${link.source.x}C${link.source.y + 48},${link.source.x} ${link.target.y - 48},${link.target.x} ${link.target.y - 4},${link.target.x}`} />)}
            {all.map((node) => {
              const each = node.data.candidate;
              return each && (
                <g key={each.number} transform={`translate(${node.y},${node.x})`} class={`node ${each.fate}`} tabIndex={0} role="button"
                  aria-label={`${each.piece}, ${say(each.fate)}, Σ log p ${show(each.total)}`}
                  onMouseEnter={() => { chosen.value = each.number; }} onFocus={() => { chosen.value = each.number; }}
                  onClick={() => select({ view: "step", t: each.step })}
                  onKeyDown={(event) => { if (event.key === "Enter") select({ view: "step", t: each.step }); }}>
                  <circle r="4" /><text x="7" y="4">{each.piece.replaceAll("▁", "␣")}</text>
                </g>
              );
            })}
          </g>
        </svg>
      </div>
      <p aria-live="polite">{picked ? `${picked.piece} · log p ${show(picked.log_prob)} · Σ log p ${show(picked.total)} · ${say("score")} ${show(picked.score)} · ${say(picked.fate)}` : say("hover_tree")}</p>
    </>
  );
}
