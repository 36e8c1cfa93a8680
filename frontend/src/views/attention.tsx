// One query, the matrices, all heads, the causal mask and cross-attention: the views of an attention.
import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { model, trace } from "../data";
import { Ask, Choice, Formula, Heatmap, Missing, Strip, Thumbnail, TokenRow, labels, pooled, upTo } from "../parts";
import { number, place, select, selection } from "../state";
import { useFloats, useMatrix, useRoots } from "../use";
import { percent, say, show } from "../words";

/** Who asks and who answers in the attention that is selected. */
function sides() {
  const { stack, kind } = selection.value;
  const now = trace.value!;
  const asks = stack === "encoder" ? now.source : now.replay.in;
  const answers = stack === "encoder" || kind === "cross" ? now.source : now.replay.in;
  return { asks, answers };
}

const layersOf = (stack: string) => (stack === "encoder" ? model.value!.config.encoder_layers : model.value!.config.decoder_layers);
const isThere = (name: string) => `${name}.weights` in trace.value!.shapes;
const isCross = () => selection.value.stack === "decoder" && selection.value.kind === "cross";
const headWidth = () => model.value!.config.width / model.value!.config.heads;
/** Several queries' heads may share one head of keys and values. */
const groupOf = (head: number) => Math.floor(head / (model.value!.config.heads / (model.value!.config.key_value_heads || model.value!.config.heads)));

export function Chooser(props: { head?: boolean }) {
  const { stack, kind } = selection.value;
  return (
    <div class="chooser">
      <Choice title={say("stack")} value={stack} of={[["encoder", say("encoder")], ["decoder", say("decoder")]]} onChoose={(value) => select({ stack: value, layer: 0 })} />
      {stack === "decoder" && <Choice title={say("kind")} value={kind} of={[["self", say("self")], ["cross", say("cross")]]} onChoose={(value) => select({ kind: value })} />}
      <Choice title={say("layer")} value={number("layer", layersOf(stack))} of={upTo(layersOf(stack))} onChoose={(layer) => select({ layer })} />
      {props.head !== false && <Choice title={say("head")} value={number("head", model.value!.config.heads)} of={upTo(model.value!.config.heads)} onChoose={(head) => select({ head })} />}
    </div>
  );
}

const NoAttention = () => <><Chooser /><Missing>{say("no_attention")}</Missing></>;

export function OneQuery() {
  const name = place();
  const { asks, answers } = sides();
  const head = number("head", model.value!.config.heads);
  const i = number("i", asks.ids.length);
  const j = number("j", answers.ids.length);
  const turned = isCross() ? "" : "turned_";
  const queries = useFloats(`${name}.${turned}queries`);
  const keys = useFloats(`${name}.${turned}keys`);
  const values = useFloats(`${name}.values`);
  const scores = useFloats(`${name}.scores`);
  const weights = useFloats(`${name}.weights`);
  const mixed = useFloats(`${name}.mixed`);
  const step = useSignal(3);
  const playing = useSignal(false);
  const open = useSignal(false);
  useEffect(() => {
    if (!playing.value) return;
    const timer = setTimeout(() => { step.value += 1; if (step.value >= 3) playing.value = false; }, 1000);
    return () => clearTimeout(timer);
  }, [playing.value, step.value]);
  if (!isThere(name)) return <NoAttention />;
  const names = labels(answers);
  const width = headWidth();
  const part = (all: Float32Array | null | undefined, at: number, row: number, rows: number) =>
    all ? all.subarray((at * rows + row) * width, (at * rows + row + 1) * width) : null;
  const q = part(queries, head, i, asks.ids.length);
  const k = part(keys, groupOf(head), j, answers.ids.length);
  const b = part(mixed, head, i, asks.ids.length);
  const row = (all: Float32Array | null | undefined) => all?.subarray((head * asks.ids.length + i) * names.length, (head * asks.ids.length + i + 1) * names.length);
  const alpha = row(scores), share = row(weights);
  const symbols = selection.value.notation === "lecture" ? ["q", "k", "v", "α", "α′", "b"] : ["q", "k", "v", "s", "p", "o"];
  const products = q && k ? Array.from(q, (value, d) => value * k[d]) : null;
  const strip = (values: Float32Array | null, title: string) => values && <Strip values={values} title={title} />;
  return (
    <>
      <Chooser />
      <TokenRow tokens={asks} chosen={i} onChoose={(at) => select({ i: at })} title={say("query_of")} />
      <Formula name="query" />
      <div class="play" role="group" aria-label={say("steps")}>
        <button type="button" disabled={playing.value} onClick={() => { step.value = 0; playing.value = true; }}>▶ {say("play")}</button>
        {["q · k", "÷ √d", "softmax", "Σ"].map((title, at) => (
          <button type="button" key={title} aria-pressed={step.value >= at} onClick={() => { playing.value = false; step.value = at; }}>{title}</button>
        ))}
      </div>
      {q ? <p class="vector">{symbols[0]}<sup>{i}</sup> {strip(q, `${symbols[0]} ${labels(asks)[i]}`)}</p> : queries === null && <Missing />}
      <div class="scroll" tabIndex={0} role="region" aria-label={say("view_query")}><table class="answers">
        <thead><tr><th scope="col">j</th><th scope="col">{symbols[1]}</th><th scope="col">{symbols[2]}</th>
          <th scope="col">{step.value === 0 ? "q·k" : symbols[3]}</th>
          {step.value >= 2 && <th scope="col" colSpan={2}>{symbols[4]}</th>}</tr></thead>
        <tbody>{names.map((piece, at) => (
          <tr key={at} class={at === j ? "lit" : ""} onClick={() => select({ j: at })}>
            <th scope="row">{piece}</th>
            <td>{strip(part(keys, groupOf(head), at, names.length), `${symbols[1]} ${piece}`)}</td>
            <td>{strip(part(values, groupOf(head), at, names.length), `${symbols[2]} ${piece}`)}</td>
            <td class="number">{alpha ? show(alpha[at] * (step.value === 0 ? Math.sqrt(width) : 1)) : "…"}</td>
            {step.value >= 2 && <td class="number">{share ? show(share[at], 4) : "…"}</td>}
            {step.value >= 2 && <td class="wide"><span class="bar" style={{ width: `${100 * (share?.[at] ?? 0)}%` }} /></td>}
          </tr>
        ))}</tbody>
      </table></div>
      {step.value >= 3 && b && <p class="vector">{symbols[5]}<sup>{i}</sup> {strip(b, symbols[5])}</p>}
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

/** What an attention is given: the canonical names of the inputs of its queries, and of its keys and values. */
function inputs(): [string, string] {
  const { stack, layer } = selection.value;
  const last = Number(layer) - 1;
  const before = Number(layer) ? `${stack}.${last}.feed_forward.norm` : `${stack}.input`;
  const own = model.value!.config.norm === "pre" ? `${place()}.norm` : isCross() ? `${stack}.${layer}.self.norm` : before;
  return [own, isCross() ? "encoder.output" : own];
}

/** A row of numbers for each token. */
function Vectors(props: { name: string; title: string; tokens: string[]; matrix?: number; width: number; at: number; axis: "i" | "j" }) {
  const values = useMatrix(useFloats(props.name), props.matrix ?? 0, props.tokens.length * props.width);
  const columns = useMemo(() => Array.from({ length: props.width }, (_, d) => String(d)), [props.width]);
  if (!values) return null;
  return <Heatmap title={props.title} rows={props.tokens} columns={columns} numbers={values} signed turned={selection.value.notation === "lecture"}
    chosen={[props.at, number("d", props.width)]} onChoose={(row, d) => select({ [props.axis]: row, d })} />;
}

function Learned(props: { name: string }) {
  const [rows, columns] = trace.value!.shapes[props.name];
  const values = useFloats(props.name);
  const names = (count: number) => Array.from({ length: count }, (_, k) => String(k));
  const chosen = useSignal<[number, number]>([0, 0]);
  if (values === null) return <Missing />;
  return values ? <Heatmap title={`${props.name} (${say("learned")})`} rows={names(rows)} columns={names(columns)} numbers={values} signed chosen={chosen.value} onChoose={(r, c) => { chosen.value = [r, c]; }} /> : <p>…</p>;
}

export function Matrices() {
  const name = place();
  const { asks, answers } = sides();
  const head = number("head", model.value!.config.heads);
  const i = number("i", asks.ids.length);
  const j = number("j", answers.ids.length);
  const opened = useSignal("");
  const [rows, columns] = [asks.ids.length, answers.ids.length];
  const weights = useMatrix(useFloats(`${name}.weights`), head, rows * columns);
  const roots = useMatrix(useRoots(`${name}.weights`), head, rows * columns);
  const scores = useMatrix(useFloats(`${name}.scores`), head, rows * columns);
  const mask = useFloats(`${name}.mask`);
  const alpha = useMemo(() => {
    const seen = (k: number) => !mask || mask[mask.length === columns ? k % columns : k] > 0;
    return scores && scores.map((value, k) => (seen(k) ? value : -Infinity));
  }, [scores, mask, columns]);
  if (!isThere(name)) return <NoAttention />;
  const lecture = selection.value.notation === "lecture";
  const letters = lecture ? ["I", "Q", "K", "V", "A", "A′", "O"] : ["X", "Q", "K", "V", "S", "P", "O"];
  const choose = (row: number, column: number) => select({ i: row, j: column });
  const shapes = trace.value!.shapes;
  const shape = (key: string) => (lecture ? [...(shapes[key] ?? [])].map((_, k, all) => (k < all.length - 2 ? all[k] : all[2 * all.length - 3 - k])) : shapes[key] ?? []).join(" × ");
  const module = `parameters.${selection.value.stack}.${selection.value.layer}.${name.endsWith("cross") ? "cross" : "mixer"}`;
  const [own, others] = inputs();
  const [asking, answering] = [labels(asks), labels(answers)];
  const turned = isCross() ? "" : "turned_";
  const head_of = `${say("head")} ${head}`;
  const { width } = model.value!.config;
  return (
    <>
      <Chooser />
      <Formula name="matrices" />
      <table class="shapes"><caption>{say("shapes")}</caption><tbody>
        {["query", "key", "value", "output"].map((each) => `${module}.${each}.weight`).filter((each) => each in shapes).map((each) => (
          <tr key={each} class="learned"><th scope="row">W {each.split(".").at(-2)}</th><td>{shapes[each].join(" × ")}</td>
            <td>{say("learned")} <button type="button" class="link" aria-expanded={opened.value === each} onClick={() => { opened.value = opened.value === each ? "" : each; }}>{say("as_picture")}</button></td></tr>
        ))}
        {["queries", "keys", "values", "scores", "weights", "mixed"].map((each) => (
          <tr key={each}><th scope="row">{each}</th><td>{shape(`${name}.${each}`)}</td><td>{say("computed")}</td></tr>
        ))}
      </tbody></table>
      {opened.value && <Learned key={opened.value} name={opened.value} />}
      <p>{say(lecture ? "columns_are_tokens" : "rows_are_tokens")}</p>
      <Vectors name={own} title={`${letters[0]} · ${own}`} tokens={asking} width={width} at={i} axis="i" />
      {others !== own && <Vectors name={others} title={`${letters[0]}′ · ${others}`} tokens={answering} width={width} at={j} axis="j" />}
      <div class="pair">
        <Vectors name={`${name}.${turned}queries`} title={`${letters[1]} · ${head_of}`} tokens={asking} matrix={head} width={headWidth()} at={i} axis="i" />
        <Vectors name={`${name}.${turned}keys`} title={`${letters[2]} · ${head_of}`} tokens={answering} matrix={groupOf(head)} width={headWidth()} at={j} axis="j" />
        <Vectors name={`${name}.values`} title={`${letters[3]} · ${head_of}`} tokens={answering} matrix={groupOf(head)} width={headWidth()} at={j} axis="j" />
      </div>
      <div class="pair">{alpha ? <Heatmap title={`${letters[4]} · ${say("scores")}`} rows={asking} columns={answering} numbers={alpha} signed turned={lecture} chosen={[i, j]} onChoose={choose} /> : scores === null && <Missing />}
      {(weights || roots) && <Heatmap title={`${letters[5]} · ${say("weights")}`} rows={asking} columns={answering} numbers={weights} roots={roots} turned={lecture} chosen={[i, j]} onChoose={choose} />}</div>
      <Vectors name={`${name}.mixed`} title={`${letters[6]} · ${head_of}`} tokens={asking} matrix={head} width={headWidth()} at={i} axis="i" />
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
  const heads = useMemo(() => {
    const found = Array.from({ length: roots ? roots.length / (rows * columns) : 0 }, (_, head) => ({ head, picture: roots!.subarray(head * rows * columns, (head + 1) * rows * columns) }));
    const measure = props.order === "entropy" ? entropy : diagonal;
    if (props.order !== "number") found.sort((a, b) => (measure(a.picture, rows, columns) - measure(b.picture, rows, columns)) * (props.order === "entropy" ? 1 : -1));
    return found;
  }, [roots, props.order, rows, columns]);
  if (!isThere(name)) return <p>{say("layer")} {props.layer}: {say("no_attention")}</p>;
  if (!roots) return <p>…</p>;
  const off = trace.value!.what_if.heads_off;
  return (
    <div class="multiples">
      {heads.map(({ head, picture }) => (
        <button type="button" key={head} class={off.some(([at, which]) => at === name && which === head) ? "off" : ""}
          aria-label={`${props.layer}.${head}: ${say("layer")} ${props.layer}, ${say("head")} ${head}`}
          aria-pressed={selection.value.layer === String(props.layer) && selection.value.head === String(head)}
          onClick={() => select({ layer: props.layer, head })}>
          <Thumbnail roots={picture} rows={rows} columns={columns} />
          <small>{props.layer}.{head}</small>
        </button>
      ))}
    </div>
  );
}

/** One head, enlarged. */
function Head(props: { name: string; head: number }) {
  const { asks, answers } = sides();
  const size = asks.ids.length * answers.ids.length;
  const weights = useMatrix(useFloats(`${props.name}.weights`), props.head, size);
  const roots = useMatrix(useRoots(`${props.name}.weights`), props.head, size);
  if (!weights && !roots) return <p>…</p>;
  return <Heatmap title={`${props.name} · ${say("head")} ${props.head}`} rows={labels(asks)} columns={labels(answers)} numbers={weights} roots={roots}
    chosen={[number("i", asks.ids.length), number("j", answers.ids.length)]} onChoose={(i, j) => select({ i, j })} />;
}

/** What the heads give, side by side, and what W_o makes of it. */
function Together(props: { name: string }) {
  const { asks } = sides();
  const i = number("i", asks.ids.length);
  const mixed = useFloats(`${props.name}.mixed`);
  const output = useFloats(`${props.name}.output`);
  const [width, whole] = [headWidth(), model.value!.config.width];
  if (!mixed || !output) return null;
  return (
    <section><h3>{say("together", { token: labels(asks)[i] })}</h3>
      {Array.from({ length: model.value!.config.heads }, (_, head) => {
        const at = (head * asks.ids.length + i) * width;
        return <p class="vector" key={head}><b>{say("head")} {head}</b> <Strip values={mixed.subarray(at, at + width)} title={`${say("head")} ${head}`} /></p>;
      })}
      <p class="vector"><b>· W_o</b> <Strip values={output.subarray(i * whole, (i + 1) * whole)} title="W_o" /></p>
    </section>
  );
}

export function Heads() {
  const order = useSignal("number");
  const pinned = useSignal<{ name: string; head: number } | null>(null);
  const { stack, kind } = selection.value;
  const { asks, answers } = sides();
  const name = place();
  const head = number("head", model.value!.config.heads);
  const now = trace.value!;
  const off = now.what_if.heads_off.some(([at, which]) => at === name && which === head);
  const before = useSignal(now.output);
  const changed = now.what_if.heads_off.length > 0;
  useEffect(() => { if (!changed) before.value = now.output; }, [now]);
  const others = now.what_if.heads_off.filter(([at, which]) => at !== name || which !== head);
  const by = pooled(new Uint8Array(0), asks.ids.length, answers.ids.length, 64)[3];
  const same = pinned.value && pinned.value.name.split(".")[0] === stack && (stack === "encoder" || pinned.value.name.endsWith(kind));
  return (
    <>
      <Chooser />
      <Formula name="heads" />
      <Choice title={say("order")} value={order.value} of={[["number", say("by_number")], ["entropy", say("by_entropy")], ["diagonal", say("by_diagonal")]]} onChoose={(value) => { order.value = value; }} />
      {by > 1 && <p class="missing">{say("pooled", { by })}</p>}
      {Array.from({ length: layersOf(stack) }, (_, layer) => <Layer key={`${stack} ${kind} ${layer}`} layer={layer} order={order.value} />)}
      <Ask change={{ heads_off: off ? others : [...others, [name, head]] }} disabled={!isThere(name)}>{say(off ? "switch_on" : "switch_off", { head: `${name} · ${head}` })}</Ask>
      {changed && <p class="changed">{say("without_heads")} <b>{now.output || say("nothing")}</b><br />{say("before")} {before.value}</p>}
      {isThere(name) && <>
        <p><button type="button" aria-pressed={pinned.value !== null} onClick={() => { pinned.value = pinned.value ? null : { name, head }; }}>{say(pinned.value ? "unpin" : "pin")}</button></p>
        <div class="pair">{same && <Head name={pinned.value!.name} head={pinned.value!.head} />}<Head name={name} head={head} /></div>
        <Together name={name} />
      </>}
    </>
  );
}

export function Mask() {
  const config = model.value!.config;
  const layer = number("layer", config.decoder_layers);
  const head = number("head", config.heads);
  const name = `decoder.${layer}.self`;
  const now = trace.value!;
  const names = labels(now.replay.in);
  const n = names.length;
  const scores = useMatrix(useFloats(`${name}.scores`), head, n * n);
  const weights = useMatrix(useFloats(`${name}.weights`), head, n * n);
  const roots = useMatrix(useRoots(`${name}.weights`), head, n * n);
  const lifted = now.what_if.mask_lifted;
  const alpha = useMemo(() => scores && scores.map((value, k) => (lifted || k % n <= Math.floor(k / n) ? value : -Infinity)), [scores, lifted, n]);
  const chosen: [number, number] = [number("i", n), number("j", n)];
  const choose = (i: number, j: number) => select({ i, j });
  if (!isThere(name)) return <Missing>{say("no_attention")}</Missing>;
  return (
    <>
      <div class="chooser">
        <Choice title={say("layer")} value={layer} of={upTo(config.decoder_layers)} onChoose={(at) => select({ layer: at })} />
        <Choice title={say("head")} value={head} of={upTo(config.heads)} onChoose={(at) => select({ head: at })} />
      </div>
      <Ask change={{ mask_lifted: !lifted }}>{say(lifted ? "mask_back" : "mask_lift")}</Ask>
      {alpha ? <Heatmap title={`α · ${say("scores")}`} rows={names} columns={names} numbers={alpha} signed chosen={chosen} onChoose={choose} /> : scores === null && <Missing />}
      {(weights || roots) && <Heatmap title={`α′ · ${say("weights")}`} rows={names} columns={names} numbers={weights} roots={roots} chosen={chosen} onChoose={choose} />}
      <p>{say("padding_mask")}</p>
    </>
  );
}

/** The cross-attention of a layer: one head, or all of them together. */
function useCross(layer: number, head: number, how: string, size: number) {
  const weights = useFloats(`decoder.${layer}.cross.weights`);
  const roots = useRoots(`decoder.${layer}.cross.weights`);
  return useMemo(() => {
    const joined = (all: Float32Array | Uint8Array): Float32Array => {
      if (how === "head") return Float32Array.from(all.subarray(head * size, (head + 1) * size));
      const heads = Array.from({ length: all.length / size }, (_, h) => h * size);
      return Float32Array.from({ length: size }, (_, k) => (how === "max" ? Math.max(...heads.map((at) => all[at + k])) : heads.reduce((sum, at) => sum + all[at + k], 0) / heads.length));
    };
    const numbers = weights ? joined(weights) : null;
    // Of bytes only pictures are made: here, of the mean of squares' roots.
    return { numbers, roots: numbers ? Uint8Array.from(numbers, (p) => 255 * Math.sqrt(p)) : roots ? Uint8Array.from(joined(roots)) : null };
  }, [weights, roots, how, head, size]);
}

export function Cross() {
  const how = useSignal("head");
  const config = model.value!.config;
  const layer = number("layer", config.decoder_layers);
  const head = number("head", config.heads);
  const now = trace.value!;
  const targets = labels(now.replay.out), sources = labels(now.source);
  const [rows, columns] = [targets.length, sources.length];
  const t = number("i", rows), j = number("j", columns);
  const { numbers, roots } = useCross(layer, head, how.value, rows * columns);
  const gap = 26;
  const most = numbers && numbers.subarray(t * columns, (t + 1) * columns).reduce((best, value, k, all) => (value > all[best] ? k : best), 0);
  return (
    <>
      <div class="chooser">
        <Choice title={say("layer")} value={layer} of={upTo(config.decoder_layers)} onChoose={(at) => select({ layer: at })} />
        <Choice title={say("head")} value={head} of={upTo(config.heads)} onChoose={(at) => select({ head: at })} />
        <Choice title={say("heads_together")} value={how.value} of={[["head", say("one_head")], ["mean", say("mean")], ["max", say("max")]]} onChoose={(value) => { how.value = value; }} />
      </div>
      {roots ? <>
        <svg class="wires" viewBox={`0 0 460 ${Math.max(rows, columns) * gap + 10}`} role="img" aria-label={say("view_cross")}>
          {Array.from(roots, (root, k) => {
            const share = (root / 255) ** 2, [r, c] = [Math.floor(k / columns), k % columns];
            return share < 0.03 ? null : <line key={k} x1="150" y1={c * gap + 16} x2="310" y2={r * gap + 16} stroke-opacity={share * (r === t || c === j ? 1 : 0.45)} class={r === t ? "lit" : ""} />;
          })}
          {sources.map((name, c) => <text key={`s${c}`} x="142" y={c * gap + 20} text-anchor="end" class={c === j ? "lit" : ""} onMouseEnter={() => select({ j: c })}>{name}</text>)}
          {targets.map((name, r) => <text key={`t${r}`} x="318" y={r * gap + 20} class={r === t ? "lit" : ""} onMouseEnter={() => select({ i: r })}>{name}</text>)}
        </svg>
        <Heatmap title={say("view_cross")} rows={targets} columns={sources} numbers={numbers} roots={roots} chosen={[t, j]} onChoose={(i, column) => select({ i, j: column })} />
      </> : <p>…</p>}
      {numbers && most !== null && <p>{say("most", { target: targets[t], source: sources[most], share: percent(numbers[t * columns + most]) })}</p>}
    </>
  );
}
