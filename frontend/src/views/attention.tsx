// One query, the matrices, all heads, the causal mask and cross-attention: the views of an attention.
import { useSignal } from "@preact/signals";
import { asked, busy, look, model, served, trace } from "../data";
import { Formula, Heatmap, Missing, Strip, TokenRow, labels } from "../parts";
import { number, place, select, selection } from "../state";
import { useFloats, useRoots } from "../use";
import { percent, say, show } from "../words";

/** Who asks and who answers in the attention that is selected. */
function sides() {
  const { stack, kind } = selection.value;
  const now = trace.value!;
  const asks = stack === "encoder" ? now.source : now.replay.in;
  const answers = stack === "encoder" || kind === "cross" ? now.source : now.replay.in;
  return { asks, answers };
}

function slice(values: Float32Array, matrix: number, rows: number, columns: number): Float32Array {
  return values.subarray(matrix * rows * columns, (matrix + 1) * rows * columns);
}

export function Chooser(props: { head?: boolean }) {
  const { stack, kind } = selection.value;
  const config = model.value!.config;
  const layers = stack === "encoder" ? config.encoder_layers : config.decoder_layers;
  const pick = (title: string, key: "stack" | "kind" | "layer" | "head", values: string[]) => (
    <label>{title} <select value={selection.value[key]} onChange={(event) => select({ [key]: event.currentTarget.value })}>
      {values.map((value) => <option key={value} value={value}>{value}</option>)}
    </select></label>
  );
  return (
    <div class="chooser">
      {pick(say("stack"), "stack", ["encoder", "decoder"])}
      {stack === "decoder" && pick(say("kind"), "kind", ["self", "cross"])}
      {pick(say("layer"), "layer", Array.from({ length: layers }, (_, k) => String(k)))}
      {props.head !== false && pick(say("head"), "head", Array.from({ length: config.heads }, (_, k) => String(k)))}
    </div>
  );
}

const isThere = () => `${place()}.weights` in trace.value!.shapes;

export function OneQuery() {
  const name = place();
  const config = model.value!.config;
  const { asks, answers } = sides();
  const head = number("head", config.heads);
  const i = number("i", asks.ids.length);
  const j = number("j", answers.ids.length);
  const turned = selection.value.kind === "cross" && selection.value.stack === "decoder" ? "" : "turned_";
  const queries = useFloats(`${name}.${turned}queries`);
  const keys = useFloats(`${name}.${turned}keys`);
  const values = useFloats(`${name}.values`);
  const scores = useFloats(`${name}.scores`);
  const weights = useFloats(`${name}.weights`);
  const mixed = useFloats(`${name}.mixed`);
  const step = useSignal(3);
  const open = useSignal(false);
  if (!isThere()) return <><Chooser /><Missing>{say("no_attention")}</Missing></>;
  const names = labels(answers);
  const width = config.width / config.heads;
  const group = Math.floor(head / (config.heads / (config.key_value_heads || config.heads)));
  const part = (all: Float32Array | null | undefined, at: number, row: number, rows: number) =>
    all ? all.subarray((at * rows + row) * width, (at * rows + row + 1) * width) : null;
  const q = part(queries, head, i, asks.ids.length);
  const k = part(keys, group, j, answers.ids.length);
  const row = (all: Float32Array | null | undefined) => all && slice(all, head, asks.ids.length, answers.ids.length)
    .subarray(i * answers.ids.length, (i + 1) * answers.ids.length);
  const alpha = row(scores), share = row(weights);
  const symbols = selection.value.notation === "lecture" ? ["q", "k", "v", "α", "α′", "b"] : ["q", "k", "v", "s", "p", "o"];
  const products = q && k ? Array.from(q, (value, d) => value * k[d]) : null;
  return (
    <>
      <Chooser />
      <TokenRow tokens={asks} chosen={i} onChoose={(at) => select({ i: at })} title={say("query_of")} />
      <Formula name="query" />
      <div class="play" role="group" aria-label={say("steps")}>
        {["q · k", "÷ √d", "softmax", "Σ"].map((title, at) => (
          <button type="button" key={title} aria-pressed={step.value >= at} onClick={() => { step.value = at; }}>{title}</button>
        ))}
      </div>
      {q ? <p class="vector">{symbols[0]}<sup>{i}</sup> <Strip values={q} title={`${symbols[0]} ${labels(asks)[i]}`} /></p> : <Missing />}
      <div class="scroll" tabIndex={0} role="region" aria-label={say("view_query")}><table class="answers">
        <thead><tr><th scope="col">j</th><th scope="col">{symbols[1]}</th><th scope="col">{symbols[2]}</th>
          <th scope="col">{step.value === 0 ? "q·k" : symbols[3]}</th>
          {step.value >= 2 && <th scope="col" colSpan={2}>{symbols[4]}</th>}</tr></thead>
        <tbody>{names.map((piece, at) => (
          <tr key={at} class={at === j ? "lit" : ""} onClick={() => select({ j: at })}>
            <th scope="row">{piece}</th>
            <td>{keys && <Strip values={part(keys, group, at, names.length)!} title={`${symbols[1]} ${piece}`} />}</td>
            <td>{values && <Strip values={part(values, group, at, names.length)!} title={`${symbols[2]} ${piece}`} />}</td>
            <td class="number">{alpha ? show(alpha[at] * (step.value === 0 ? Math.sqrt(width) : 1)) : "…"}</td>
            {step.value >= 2 && <td class="number">{share ? show(share[at], 4) : "…"}</td>}
            {step.value >= 2 && <td class="wide"><span class="bar" style={{ width: `${100 * (share?.[at] ?? 0)}%` }} /></td>}
          </tr>
        ))}</tbody>
      </table></div>
      {step.value >= 3 && mixed && <p class="vector">{symbols[5]}<sup>{i}</sup> <Strip values={part(mixed, head, i, asks.ids.length)!} title={symbols[5]} /></p>}
      {products && (
        <p><button type="button" class="link" aria-expanded={open.value} onClick={() => { open.value = !open.value; }}>
          {say("element_wise", { i: labels(asks)[i], j: names[j] })}</button></p>
      )}
      {products && open.value && (
        <p class="numbers">{products.map((value) => show(value)).join(" + ")} = {show(products.reduce((sum, value) => sum + value, 0), 4)}</p>
      )}
    </>
  );
}

export function Matrices() {
  const name = place();
  const { asks, answers } = sides();
  const head = number("head", model.value!.config.heads);
  const i = number("i", asks.ids.length);
  const j = number("j", answers.ids.length);
  const scores = useFloats(`${name}.scores`);
  const weights = useFloats(`${name}.weights`);
  const roots = useRoots(`${name}.weights`);
  const mask = useFloats(`${name}.mask`);
  if (!isThere()) return <><Chooser /><Missing>{say("no_attention")}</Missing></>;
  const [rows, columns] = [asks.ids.length, answers.ids.length];
  const size = rows * columns;
  const choose = (row: number, column: number) => select({ i: row, j: column });
  const shapes = trace.value!.shapes;
  const shape = (key: string) => (shapes[`${name}.${key}`] ?? []).join(" × ");
  const letters = selection.value.notation === "lecture" ? ["A", "A′", "O"] : ["S", "P", "O"];
  const seen = (row: number, column: number) => !mask || mask[mask.length === columns ? column : row * columns + column] > 0;
  const alpha = scores ? slice(scores, head, rows, columns).map((value, k) => (seen(Math.floor(k / columns), k % columns) ? value : -Infinity)) : null;
  const module = `${selection.value.stack}.${selection.value.layer}.${name.endsWith("cross") ? "cross" : "mixer"}`;
  return (
    <>
      <Chooser />
      <Formula name="matrices" />
      <table class="shapes"><caption>{say("shapes")}</caption><tbody>
        {["query", "key", "value", "output"].map((each) => (
          <tr key={each} class="learned"><th scope="row">W {each}</th><td>{(shapes[`parameters.${module}.${each}.weight`] ?? []).join(" × ")}</td><td>{say("learned")}</td></tr>
        ))}
        {["queries", "keys", "values", "scores", "weights", "mixed"].map((each) => (
          <tr key={each}><th scope="row">{each}</th><td>{shape(each)}</td><td>{say("computed")}</td></tr>
        ))}
      </tbody></table>
      {alpha ? <Heatmap title={`${letters[0]} · ${say("scores")}`} rows={labels(asks)} columns={labels(answers)} numbers={alpha} signed chosen={[i, j]} onChoose={choose} /> : <Missing />}
      {(weights || roots) && <Heatmap title={`${letters[1]} · ${say("weights")}`} rows={labels(asks)} columns={labels(answers)}
        numbers={weights ? slice(weights, head, rows, columns) : null} roots={roots?.subarray(head * size, (head + 1) * size)} chosen={[i, j]} onChoose={choose} />}
    </>
  );
}

function entropy(roots: Uint8Array, rows: number, columns: number): number {
  let sum = 0;
  for (let k = 0; k < rows * columns; k++) { const p = (roots[k] / 255) ** 2; if (p > 0) sum -= p * Math.log(p); }
  return sum / rows;
}

function diagonal(roots: Uint8Array, rows: number, columns: number): number {
  let sum = 0;
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) if (Math.abs(i / rows - j / columns) <= 1.5 / Math.max(rows, columns)) sum += (roots[i * columns + j] / 255) ** 2;
  return sum / rows;
}

function Layer(props: { layer: number; order: string }) {
  const { stack, kind } = selection.value;
  const name = `${stack}.${props.layer}.${stack === "encoder" ? "self" : kind}`;
  const roots = useRoots(`${name}.weights`);
  const { asks, answers } = sides();
  const [rows, columns] = [asks.ids.length, answers.ids.length];
  if (!(`${name}.weights` in trace.value!.shapes)) return <p>{say("layer")} {props.layer}: {say("no_attention")}</p>;
  if (!roots) return <p>…</p>;
  const heads = Array.from({ length: roots.length / (rows * columns) }, (_, head) => ({ head, picture: roots.subarray(head * rows * columns, (head + 1) * rows * columns) }));
  const measure = props.order === "entropy" ? entropy : diagonal;
  if (props.order !== "number") heads.sort((a, b) => (measure(a.picture, rows, columns) - measure(b.picture, rows, columns)) * (props.order === "entropy" ? 1 : -1));
  const off = trace.value!.what_if.heads_off;
  return (
    <div class="multiples">
      {heads.map(({ head, picture }) => (
        <button type="button" key={head} class={off.some(([at, which]) => at === name && which === head) ? "off" : ""}
          aria-label={`${say("layer")} ${props.layer}, ${say("head")} ${head}`}
          aria-pressed={selection.value.layer === String(props.layer) && selection.value.head === String(head)}
          onClick={() => select({ layer: props.layer, head })}>
          <Heatmap small title="" rows={labels(asks)} columns={labels(answers)} numbers={null} roots={picture} />
          <small>{props.layer}.{head}</small>
        </button>
      ))}
    </div>
  );
}

export function Heads() {
  const order = useSignal("number");
  const { stack } = selection.value;
  const config = model.value!.config;
  const layers = stack === "encoder" ? config.encoder_layers : config.decoder_layers;
  const { asks, answers } = sides();
  const name = place();
  const head = number("head", config.heads);
  const weights = useFloats(`${name}.weights`);
  const roots = useRoots(`${name}.weights`);
  const size = asks.ids.length * answers.ids.length;
  const now = trace.value!;
  const off = now.what_if.heads_off.some(([at, which]) => at === name && which === head);
  const before = useSignal(now.output);
  const change = () => {
    const others = now.what_if.heads_off.filter(([at, which]) => at !== name || which !== head);
    if (!now.what_if.heads_off.length) before.value = now.output;
    look({ ...asked.value!, heads_off: off ? others : [...others, [name, head]] });
  };
  return (
    <>
      <Chooser />
      <Formula name="heads" />
      <label>{say("order")} <select value={order.value} onChange={(event) => { order.value = event.currentTarget.value; }}>
        <option value="number">{say("by_number")}</option><option value="entropy">{say("by_entropy")}</option><option value="diagonal">{say("by_diagonal")}</option>
      </select></label>
      {Array.from({ length: layers }, (_, layer) => <Layer key={layer} layer={layer} order={order.value} />)}
      <p><button type="button" disabled={!served || busy.value || !isThere()} onClick={change}>{say(off ? "switch_on" : "switch_off", { head: `${name} · ${head}` })}</button>
        {!served && <em> {say("needs_server")}</em>}</p>
      {now.what_if.heads_off.length > 0 && <p class="changed">{say("without_heads")} <b>{now.output}</b><br />{say("before")} {before.value}</p>}
      {roots && isThere() && <Heatmap title={`${name} · ${head}`} rows={labels(asks)} columns={labels(answers)} numbers={weights ? slice(weights, head, asks.ids.length, answers.ids.length) : null}
        roots={roots.subarray(head * size, (head + 1) * size)} chosen={[number("i", asks.ids.length), number("j", answers.ids.length)]} onChoose={(i, j) => select({ i, j })} />}
    </>
  );
}

export function Mask() {
  const config = model.value!.config;
  const layer = number("layer", config.decoder_layers);
  const head = number("head", config.heads);
  const name = `decoder.${layer}.self`;
  const scores = useFloats(`${name}.scores`);
  const weights = useFloats(`${name}.weights`);
  const now = trace.value!;
  const names = labels(now.replay.in);
  const n = names.length;
  const lifted = now.what_if.mask_lifted;
  const chosen: [number, number] = [number("i", n), number("j", n)];
  const choose = (i: number, j: number) => select({ i, j });
  if (!(`${name}.weights` in now.shapes)) return <Missing>{say("no_attention")}</Missing>;
  const alpha = scores && slice(scores, head, n, n).map((value, k) => (lifted || k % n <= Math.floor(k / n) ? value : -Infinity));
  return (
    <>
      <p>{say("layer")} {layer}, {say("head")} {head}</p>
      {lifted && <p class="changed">{say("hypothetical")}</p>}
      <p><button type="button" disabled={!served || busy.value} onClick={() => look({ ...asked.value!, mask_lifted: !lifted })}>{say(lifted ? "mask_back" : "mask_lift")}</button>
        {!served && <em> {say("needs_server")}</em>}</p>
      {alpha ? <Heatmap title={`α · ${say("scores")}`} rows={names} columns={names} numbers={alpha} signed chosen={chosen} onChoose={choose} /> : <Missing />}
      {weights ? <Heatmap title={`α′ · ${say("weights")}`} rows={names} columns={names} numbers={slice(weights, head, n, n)} chosen={chosen} onChoose={choose} /> : <Missing />}
      <p>{say("padding_mask")}</p>
    </>
  );
}

export function Cross() {
  const how = useSignal("head");
  const config = model.value!.config;
  const layer = number("layer", config.decoder_layers);
  const head = number("head", config.heads);
  const weights = useFloats(`decoder.${layer}.cross.weights`);
  const now = trace.value!;
  const targets = labels(now.replay.out), sources = labels(now.source);
  const [rows, columns] = [targets.length, sources.length];
  const t = number("i", rows), j = number("j", columns);
  if (weights === undefined) return <p>…</p>;
  if (weights === null) return <Missing />;
  const size = rows * columns;
  const numbers = how.value === "head" ? slice(weights, head, rows, columns) : Float32Array.from({ length: size }, (_, k) => {
    const all = Array.from({ length: config.heads }, (_, h) => weights[h * size + k]);
    return how.value === "max" ? Math.max(...all) : all.reduce((a, b) => a + b, 0) / all.length;
  });
  const gap = 26;
  return (
    <>
      <div class="chooser">
        <label>{say("layer")} <select value={layer} onChange={(event) => select({ layer: event.currentTarget.value })}>{Array.from({ length: config.decoder_layers }, (_, k) => <option key={k}>{k}</option>)}</select></label>
        <label>{say("head")} <select value={head} onChange={(event) => select({ head: event.currentTarget.value })}>{Array.from({ length: config.heads }, (_, k) => <option key={k}>{k}</option>)}</select></label>
        <label>{say("heads_together")} <select value={how.value} onChange={(event) => { how.value = event.currentTarget.value; }}>
          <option value="head">{say("one_head")}</option><option value="mean">{say("mean")}</option><option value="max">{say("max")}</option></select></label>
      </div>
      <svg class="wires" viewBox={`0 0 460 ${Math.max(rows, columns) * gap + 10}`} role="img" aria-label={say("view_cross")}>
        {Array.from({ length: size }, (_, k) => {
          const [r, c] = [Math.floor(k / columns), k % columns];
          return numbers[k] < 0.03 ? null : <line key={k} x1="150" y1={c * gap + 16} x2="310" y2={r * gap + 16} stroke-opacity={numbers[k] * (r === t || c === j ? 1 : 0.45)} class={r === t ? "lit" : ""} />;
        })}
        {sources.map((name, c) => <text key={`s${c}`} x="142" y={c * gap + 20} text-anchor="end" class={c === j ? "lit" : ""} onMouseEnter={() => select({ j: c })}>{name}</text>)}
        {targets.map((name, r) => <text key={`t${r}`} x="318" y={r * gap + 20} class={r === t ? "lit" : ""} onMouseEnter={() => select({ i: r })}>{name}</text>)}
      </svg>
      <Heatmap title={say("view_cross")} rows={targets} columns={sources} numbers={numbers} chosen={[t, j]} onChoose={(i, column) => select({ i, j: column })} />
      <p>{say("most", { target: targets[t], source: sources[numbers.subarray(t * columns, (t + 1) * columns).indexOf(Math.max(...numbers.subarray(t * columns, (t + 1) * columns)))], share: percent(Math.max(...numbers.subarray(t * columns, (t + 1) * columns))) })}</p>
    </>
  );
}
