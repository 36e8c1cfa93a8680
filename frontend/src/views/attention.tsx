// One query, the matrices, all heads, the causal mask and cross-attention: the views of an attention.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { begin, hasMask, mean, model, positionsOf, saw, served, tokensOf, trace } from "../data";
import { Absent, Ask, Choice, Formula, Heatmap, Missing, Strip, Thumbnail, TokenRow, headName, labels, pooling, upTo } from "../parts";
import { type Stack, hasCross, inColumns, number, place, select, stacks } from "../state";
import { useFloats, useMatrix, useRoots } from "../use";
import { join, percent, say, show } from "../words";

/** The attention that is selected, who asks and who answers in it, and which of them. */
function selected() {
  const at = place();
  const cross = at.kind === "cross";
  const asks = tokensOf(at.stack);
  const answers = cross ? trace.value!.source : asks;
  const begins = beginnings(at.stack);
  return { ...at, cross, asks, answers, begins, head: number("head", heads()), i: number("i", asks.ids.length), j: number("j", answers.ids.length) };
}

/** Where BOS stands among queries and keys; 0, where they are of one side only. */
const beginnings = (stack: Stack): [number, number] => (stack === "decoder" ? [begin(), begin()] : [0, 0]);
const heads = () => model.value!.config.heads;
export const headWidth = () => model.value!.config.width / heads();
/** Several queries' heads may share one head of keys and values. */
const groupOf = (head: number) => Math.floor((head * model.value!.config.key_value_heads) / heads());
const isThere = (name: string) => `${name}.weights` in trace.value!.shapes;
const hasPositions = (kind: "rotary" | "alibi", cross: boolean) => positionsOf(model.value!.config) === kind && !cross && !trace.value!.what_if.positions_off;
const count = (length: number) => Array.from({ length }, (_, k) => String(k));

/** The bias of positions on the scores of a head; undefined where there is none. */
export function useBias(name: string, head: number, rows: number, columns: number): Float32Array | null | undefined {
  return useMatrix(useFloats(`${name}.bias` in trace.value!.shapes ? `${name}.bias` : null), head, rows * columns);
}

/** Scores with their bias, and −∞ where a key is hidden. One sentence alone has no padding: only the decoder's own future is. */
function useScores(name: string, head: number, rows: number, columns: number): Float32Array | null | undefined {
  const scores = useMatrix(useFloats(`${name}.scores`), head, rows * columns);
  const bias = useBias(name, head, rows, columns);
  return useMemo(() => {
    const causal = /^decoder.*self$/.test(name) && hasMask() && !trace.value!.what_if.mask_lifted;
    return scores && scores.map((value, k) => (causal && k % columns > Math.floor(k / columns) ? -Infinity : value + (bias ? bias[k] : 0)));
  }, [scores, bias, name, columns]);
}

function LayerAndHead(props: { stack: Stack }) {
  const layers = model.value!.config[`${props.stack}_layers`];
  return (
    <>
      <Choice title={say("layer")} value={number("layer", layers)} of={upTo(layers)} onChoose={(layer) => select({ layer })} />
      <Choice title={say("head")} value={number("head", heads())} of={upTo(heads())} onChoose={(head) => select({ head })} />
    </>
  );
}

function Chooser() {
  const { stack, kind } = place();
  return (
    <div class="chooser">
      {stacks().length > 1 && <Choice title={say("stack")} value={stack} of={stacks().map((each) => [each, say(each)] as const)} onChoose={(value) => select({ stack: value, layer: 0 })} />}
      {stack === "decoder" && hasCross() && <Choice title={say("kind")} value={kind} of={[["self", say("self")], ["cross", say("cross")]]} onChoose={(value) => select({ kind: value })} />}
      <LayerAndHead stack={stack} />
    </div>
  );
}

const NoAttention = () => <><Chooser /><Missing>{say("no_attention")}</Missing></>;

/** How queries, keys and values come about, one query at a time or all together, and what becomes of them. */
function Formulas(props: { single?: boolean; cross: boolean }) {
  const turned = hasPositions("rotary", props.cross), biased = hasPositions("alibi", props.cross);
  const { single } = props, lecture = inColumns();
  const [own, given] = !lecture ? ["X", "Y"] : single ? ["a", "ā"] : ["I", "Ī"];
  const name = !lecture ? "rows" : single ? "query" : "columns";
  return (
    <>
      <Formula name={name} variant={turned ? "rotary" : props.cross ? "cross" : ""} />
      <Formula name={name === "query" ? "answer" : `${name}.together`} variant={biased ? "alibi" : ""} />
      {props.cross && <p class="explain">{say("cross_sides", { own, given })}</p>}
      {biased && <p class="explain">{say("alibi")}</p>}
      {turned && <p class="explain">{say("turned", { half: headWidth() / 2 })}</p>}
    </>
  );
}

/** What an attention is given: the canonical names of the inputs of its queries, and of its keys and values. */
function inputs(): [string, string] {
  const { stack, kind, layer, name } = place();
  const before = layer ? `${stack}.${layer - 1}.feed_forward.norm` : `${stack}.input`;
  const own = model.value!.config.norm === "pre" ? `${name}.norm` : kind === "cross" ? `${stack}.${layer}.self.norm` : before;
  return [own, kind === "cross" ? "encoder.output" : own];
}

export function OneQuery() {
  const { name, cross, asks, answers, begins, head, i, j } = selected();
  const [n, width] = [answers.ids.length, headWidth()];
  const rotated = cross ? "" : "rotated_";
  const given = useFloats(inputs()[0]);
  const queries = useFloats(`${name}.${rotated}queries`);
  const keys = useFloats(`${name}.${rotated}keys`);
  const values = useFloats(`${name}.values`);
  const scores = useScores(name, head, asks.ids.length, n);
  const bias = useBias(name, head, asks.ids.length, n);
  const weights = useFloats(`${name}.weights`);
  const roots = useRoots(weights === null ? `${name}.weights` : null);
  const context = useFloats(`${name}.context`);
  const step = useSignal(3);
  const playing = useSignal(false);
  const open = useSignal(false);
  useEffect(() => {
    if (!playing.value) return;
    const timer = setTimeout(() => { step.value += 1; if (step.value >= 3) playing.value = false; }, 1000);
    return () => clearTimeout(timer);
  }, [playing.value, step.value]);
  if (!isThere(name)) return <NoAttention />;
  const names = labels(answers), asking = labels(asks)[i];
  const part = (all: Float32Array | null | undefined, row: number, wide: number) => all && all.subarray(row * wide, (row + 1) * wide);
  const q = part(queries, head * asks.ids.length + i, width);
  const [k, v] = [keys, values].map((all) => names.map((_, at) => part(all, groupOf(head) * n + at, width)));
  const alpha = part(scores, i, n), share = part(weights, head * asks.ids.length + i, n);
  const pictured = (at: number) => (share ? share[at] : roots ? (roots[(head * asks.ids.length + i) * n + at] / 255) ** 2 : 0);
  const [a, ...letters] = inColumns() ? ["a", "q", "k", "v", "α", "α′", "b"] : ["x", "q", "k", "v", "s", "p", "o"];
  const missing = [a, ...letters].filter((_, at) => [given, queries, keys, values, scores, weights, context][at] === null);
  const products = q && k[j] && Array.from(q, (value, d) => value * k[j]![d]);
  const unless = (all: unknown, there: () => ComponentChildren) => (all ? there() : all === null ? "–" : "…");
  const strip = (values: Float32Array | null | undefined, title: string) => unless(values, () => <Strip values={values!} title={title} />);
  const vector = (letter: string, values: Float32Array | null | undefined) => <p class="vector"><b>{letter}<sup>{i}</sup></b> {strip(values, `${letter} ${asking}`)}</p>;
  const move = (event: KeyboardEvent) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    select({ j: Math.max(0, Math.min(n - 1, j + by)) });
  };
  return (
    <>
      <Chooser />
      <TokenRow tokens={asks} begin={begins[0]} chosen={i} onChoose={(at) => select({ i: at })} title={say("query_of")} />
      <Formulas single cross={cross} />
      <div class="play" role="group" aria-label={say("steps")}>
        <button type="button" disabled={playing.value} onClick={() => { step.value = 0; playing.value = true; }}>▶ {say("play")}</button>
        {["q · k", hasPositions("alibi", cross) ? "÷ √d − m |i − j|" : "÷ √d", "softmax", "Σ"].map((title, at) => (
          <button type="button" key={title} aria-pressed={step.value >= at} onClick={() => { playing.value = false; step.value = at; }}>{title}</button>
        ))}
      </div>
      {missing.length > 0 && <Absent of={null} title={missing.join(", ")} />}
      {vector(a, part(given, i, model.value!.config.width))}
      {vector(letters[0], q)}
      <div class="scroll" tabIndex={0} role="region" aria-label={say("choose_key")} onKeyDown={move}><table class="answers">
        <caption>{say("choose_key")}</caption>
        <thead><tr><th scope="col">j</th><th scope="col">{letters[1]}</th><th scope="col">{letters[2]}</th>
          <th scope="col">{step.value === 0 ? "q·k" : letters[3]}</th>
          {step.value >= 2 && <th scope="col" colSpan={2}>{letters[4]}</th>}</tr></thead>
        <tbody>{names.map((piece, at) => (
          <tr key={at} class={`${at === j ? "lit" : ""} ${begins[1] && at === begins[1] ? "edge-row" : ""}`} aria-current={at === j} onClick={() => select({ j: at })}>
            <th scope="row">{piece}</th>
            <td>{strip(k[at], `${letters[1]} ${piece}`)}</td>
            <td>{strip(v[at], `${letters[2]} ${piece}`)}</td>
            <td class="number">{unless(alpha, () => show(step.value === 0 ? (alpha![at] - (bias ? bias[i * n + at] : 0)) * Math.sqrt(width) : alpha![at]))}</td>
            {step.value >= 2 && <td class="number">{unless(share, () => show(share![at], 4))}</td>}
            {step.value >= 2 && <td class="wide">{pictured(at) > 0 && <span class="bar" style={{ width: `${100 * pictured(at)}%` }} />}</td>}
          </tr>
        ))}</tbody>
      </table></div>
      {step.value >= 3 && vector(letters[5], part(context, head * asks.ids.length + i, width))}
      {products && (
        <p><button type="button" class="link" aria-expanded={open.value} onClick={() => { open.value = !open.value; }}>
          {say("element_wise", { i: asking, j: names[j] })}</button></p>
      )}
      {products && open.value && (
        <p class="numbers">{products.map((value) => show(value)).join(" + ")} = {show(products.reduce((sum, value) => sum + value, 0), 4)}</p>
      )}
    </>
  );
}

/** A row of numbers for each token: of coordinates `d` of a head, or `c` of the model's width. */
function Vectors(props: { name: string; title: string; tokens: string[]; begin: number; matrix?: number; width: number; at: number; axis: "i" | "j"; along: "c" | "d" }) {
  const values = useMatrix(useFloats(props.name), props.matrix ?? 0, props.tokens.length * props.width);
  const columns = useMemo(() => count(props.width), [props.width]);
  if (!values) return <Absent of={values} title={props.title} />;
  return <Heatmap title={props.title} rows={props.tokens} columns={columns} numbers={values} signed turned={inColumns()} begin={[props.begin, 0]}
    chosen={[props.at, number(props.along, props.width)]} onChoose={(row, at) => select({ [props.axis]: row, [props.along]: at })} />;
}

/** A learned matrix. The rows of W_q, W_k, W_v and the columns of W_o are coordinates of heads, the others of the model's width. */
function Learned(props: { name: string; title: string; head: number }) {
  const [rows, columns] = trace.value!.shapes[props.name];
  const values = useFloats(props.name);
  const [above, beside] = useMemo(() => [count(columns), count(rows)], [rows, columns]);
  if (!values) return <Absent of={values} title={props.title} />;
  const gathers = props.name.endsWith("output.weight");
  const width = headWidth();
  const sharing = (heads() * width) / (gathers ? columns : rows);
  const group = Math.floor(props.head / sharing);
  const turn = ([a, b]: [number, number]): [number, number] => (gathers ? [b, a] : [a, b]);
  const choose = (row: number, column: number) => {
    const [inner, c] = turn([row, column]);
    const at = Math.floor(inner / width);
    select({ head: at === group ? props.head : at * sharing, d: inner % width, c });
  };
  return <Heatmap title={props.title} rows={beside} columns={above} numbers={values} signed square
    chosen={turn([group * width + number("d", width), number("c", model.value!.config.width)])} onChoose={choose} />;
}

const PARTS = { q: "query", k: "key", v: "value", o: "output" };

export function Matrices() {
  const { stack, layer, name, cross, asks, answers, begins, head, i, j } = selected();
  const opened = useSignal<keyof typeof PARTS | null>(null);
  const [rows, columns] = [asks.ids.length, answers.ids.length];
  const weights = useMatrix(useFloats(`${name}.weights`), head, rows * columns);
  const roots = useMatrix(useRoots(`${name}.weights`), head, rows * columns);
  const alpha = useScores(name, head, rows, columns);
  if (!isThere(name)) return <NoAttention />;
  const lecture = inColumns();
  const [I, others, Q, K, V, A, shares, O] = lecture ? ["I", "Ī", "Q", "K", "V", "A", "A′", "O"] : ["X", "Y", "Q", "K", "V", "S", "P", "O"];
  const choose = (row: number, column: number) => select({ i: row, j: column });
  const [own, given] = inputs();
  const [asking, answering] = [labels(asks), labels(answers)];
  const rotated = cross ? "" : "rotated_";
  const shapes = trace.value!.shapes;
  const shape = (key: string) => {
    const sides = [...shapes[key]], last = sides.splice(-2);
    return [...sides, ...(lecture ? last.reverse() : last)].join(" × ");
  };
  const computed = (letter: string, key: string) => (
    <tr key={key}><th scope="row">{letter}</th><td>{shape(key)}</td><td>{say("computed")}</td><td><code>{key}</code></td></tr>
  );
  const key = (part: string) => `parameters.${stack}.blocks.${layer}.${cross ? "cross" : "mixer"}.${part}.weight`;
  const W = (letter: string) => (lecture ? `W^${letter}` : `W_${letter}`);
  const learned = (letter: keyof typeof PARTS) => (
    <tr key={letter} class="learned"><th scope="row">W{lecture ? <sup>{letter}</sup> : <sub>{letter}</sub>}</th><td>{shapes[key(PARTS[letter])].join(" × ")}</td><td>{say("learned")}</td>
      <td><button type="button" class="link" disabled={!served} aria-expanded={opened.value === letter} aria-label={`${W(letter)}: ${say("as_picture")}`}
        onClick={() => { opened.value = opened.value === letter ? null : letter; }}>{say("as_picture")}</button></td></tr>
  );
  const of_head = `${say("head")} ${head}`;
  const { width } = model.value!.config;
  return (
    <>
      <Chooser />
      <Formulas cross={cross} />
      <div class="scroll" tabIndex={0} role="region" aria-label={say("shapes")}><table class="shapes"><caption>{say("shapes")}</caption><tbody>
        {computed(I, own)}
        {cross && computed(others, given)}
        {learned("q")}{learned("k")}{learned("v")}
        {computed(Q, `${name}.${rotated}queries`)}
        {computed(K, `${name}.${rotated}keys`)}
        {computed(V, `${name}.values`)}
        {computed(A, `${name}.scores`)}
        {computed(shares, `${name}.weights`)}
        {computed(O, `${name}.context`)}
        {learned("o")}
      </tbody></table></div>
      {lecture && <p class="explain">{say("transposed")}</p>}
      {!served && <em>{say("as_picture")}: {say("needs_server")}</em>}
      {opened.value && <Learned name={key(PARTS[opened.value])} title={`${W(opened.value)} · ${say("learned")}`} head={head} />}
      <p>{say(lecture ? "columns_are_tokens" : "rows_are_tokens")}</p>
      <Vectors name={own} title={`${I} · ${own}`} tokens={asking} begin={begins[0]} width={width} at={i} axis="i" along="c" />
      {cross && <Vectors name={given} title={`${others} · ${given}`} tokens={answering} begin={begins[1]} width={width} at={j} axis="j" along="c" />}
      <div class="pair">
        <Vectors name={`${name}.${rotated}queries`} title={`${Q} · ${of_head}`} tokens={asking} begin={begins[0]} matrix={head} width={headWidth()} at={i} axis="i" along="d" />
        <Vectors name={`${name}.${rotated}keys`} title={`${K} · ${of_head}`} tokens={answering} begin={begins[1]} matrix={groupOf(head)} width={headWidth()} at={j} axis="j" along="d" />
        <Vectors name={`${name}.values`} title={`${V} · ${of_head}`} tokens={answering} begin={begins[1]} matrix={groupOf(head)} width={headWidth()} at={j} axis="j" along="d" />
      </div>
      <div class="pair">
        {alpha ? <Heatmap title={`${A} · ${say("scores")}`} rows={asking} columns={answering} numbers={alpha} signed turned={lecture} begin={begins} chosen={[i, j]} onChoose={choose} /> : <Absent of={alpha} title={A} />}
        {(weights || roots) && <Heatmap title={`${shares} · ${say("weights")}`} rows={asking} columns={answering} numbers={weights} roots={roots} turned={lecture} begin={begins} chosen={[i, j]} onChoose={choose} />}
      </div>
      <Vectors name={`${name}.context`} title={`${O} · ${of_head}`} tokens={asking} begin={begins[0]} matrix={head} width={headWidth()} at={i} axis="i" along="d" />
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
  const { stack, kind, layer, head: chosen, asks, answers } = selected();
  const name = `${stack}.${props.layer}.${kind}`;
  const roots = useRoots(`${name}.weights`);
  const [rows, columns] = [asks.ids.length, answers.ids.length];
  const heads = useMemo(() => {
    const found = Array.from({ length: roots ? roots.length / (rows * columns) : 0 }, (_, head) => ({ head, picture: roots!.subarray(head * rows * columns, (head + 1) * rows * columns) }));
    const measure = props.order === "entropy" ? entropy : diagonal;
    if (props.order !== "number") found.sort((a, b) => (measure(a.picture, rows, columns) - measure(b.picture, rows, columns)) * (props.order === "entropy" ? 1 : -1));
    return found;
  }, [roots, props.order, rows, columns]);
  if (!isThere(name)) return <p>{say("layer")} {props.layer}: {say("no_attention")}</p>;
  if (!roots) return <Absent of={roots} />;
  const off = trace.value!.what_if.heads_off;
  return (
    <div class="multiples">
      {heads.map(({ head, picture }) => (
        <button type="button" key={head} class={off.some(([at, which]) => at === name && which === head) ? "off" : ""}
          aria-label={`${props.layer}.${head}: ${say("layer")} ${props.layer}, ${say("head")} ${head}`}
          aria-pressed={layer === props.layer && chosen === head}
          onClick={() => select({ layer: props.layer, head })}>
          <Thumbnail roots={picture} rows={rows} columns={columns} turned={inColumns()} />
          <small>{props.layer}.{head}</small>
        </button>
      ))}
    </div>
  );
}

/** One head, enlarged. */
function Head(props: { name: string; head: number }) {
  const { asks, answers, begins, i, j } = selected();
  const size = asks.ids.length * answers.ids.length;
  const weights = useMatrix(useFloats(`${props.name}.weights`), props.head, size);
  const roots = useMatrix(useRoots(`${props.name}.weights`), props.head, size);
  if (!roots) return <Absent of={roots} />;
  return <Heatmap title={headName(props.name, props.head)} rows={labels(asks)} columns={labels(answers)} numbers={weights} roots={roots} turned={inColumns()} begin={begins}
    chosen={[i, j]} onChoose={(i, j) => select({ i, j })} />;
}

/** What the heads give, side by side, and what W_o makes of it. */
function Together(props: { name: string }) {
  const { asks, i } = selected();
  const context = useFloats(`${props.name}.context`);
  const output = useFloats(`${props.name}.output`);
  const [width, whole] = [headWidth(), model.value!.config.width];
  const title = say("together", { token: labels(asks)[i] });
  if (!context || !output) return <Absent of={context && (output as null | undefined)} title={title} />;
  return (
    <section><h3>{title}</h3>
      {Array.from({ length: heads() }, (_, head) => {
        const at = (head * asks.ids.length + i) * width;
        return <p class="vector" key={head}><b>{say("head")} {head}</b> <Strip values={context.subarray(at, at + width)} title={`${say("head")} ${head}`} /></p>;
      })}
      <p class="vector"><b>· Wᵒ</b> <Strip values={output.subarray(i * whole, (i + 1) * whole)} title="Wᵒ" /></p>
    </section>
  );
}

export function Heads() {
  const order = useSignal("number");
  const pinned = useSignal<{ name: string; head: number } | null>(null);
  const { stack, kind, name, head, asks, answers } = selected();
  const now = trace.value!;
  const { heads_off } = now.what_if;
  const off = heads_off.some(([at, which]) => at === name && which === head);
  const others = heads_off.filter(([at, which]) => at !== name || which !== head);
  const before = saw({ heads_off: [] });
  const by = pooling(asks.ids.length, answers.ids.length);
  const same = pinned.value && pinned.value.name.startsWith(stack) && pinned.value.name.endsWith(kind);
  return (
    <>
      <Chooser />
      <Formula name={inColumns() ? "heads.columns" : "heads.rows"} />
      <Choice title={say("order")} value={order.value} of={[["number", say("by_number")], ["entropy", say("by_entropy")], ["diagonal", say("by_diagonal")]]} onChoose={(value) => { order.value = value; }} />
      {by > 1 && <Missing>{say("pooled", { by })}</Missing>}
      {Array.from({ length: model.value!.config[`${stack}_layers`] }, (_, layer) => <Layer key={`${stack} ${kind} ${layer}`} layer={layer} order={order.value} />)}
      <Ask change={{ heads_off: off ? others : [...others, [name, head]] }} disabled={!isThere(name)}>{say(off ? "switch_on" : "switch_off", { head: headName(name, head) })}</Ask>
      {heads_off.length > 0 && <p class="changed">{join([say("without_heads"), ""])}<b>{now.output || say("nothing")}</b>{before && <><br />{join([say("before"), ""])}<span data-before>{before.output || say("nothing")}</span></>}</p>}
      {isThere(name) && <>
        <p><button type="button" aria-pressed={pinned.value !== null} onClick={() => { pinned.value = pinned.value ? null : { name, head }; }}>{say(pinned.value ? "unpin" : "pin")}</button></p>
        <div class="pair">{same && <Head name={pinned.value!.name} head={pinned.value!.head} />}<Head name={name} head={head} /></div>
        <Together name={name} />
      </>}
    </>
  );
}

/** The present sentence in a batch with a shorter one. */
function Padding() {
  const names = labels(trace.value!.source);
  const half = Math.ceil(names.length / 2);
  const shorter = [...names.slice(0, half - 1), names.at(-1), ...Array(names.length - half).fill(null)];
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={say("padding")}><table class="batch"><tbody>{[names, shorter].map((row, k) => (
        <tr key={k}>{row.map((name, at) => <td key={at} class={name === null ? "pad" : ""}>{name ?? <>PAD<small>−∞</small></>}</td>)}</tr>
      ))}</tbody></table></div>
  );
}

export function Mask() {
  const layer = number("layer", model.value!.config.decoder_layers);
  const head = number("head", heads());
  const name = `decoder.${layer}.self`;
  const now = trace.value!;
  const names = labels(now.replay.decoder_in);
  const n = names.length;
  const alpha = useScores(name, head, n, n);
  const weights = useMatrix(useFloats(`${name}.weights`), head, n * n);
  const roots = useMatrix(useRoots(`${name}.weights`), head, n * n);
  const lifted = now.what_if.mask_lifted;
  const [score, share] = inColumns() ? ["α", "α′"] : ["S", "P"];
  const drawn = { rows: names, columns: names, turned: inColumns(), begin: beginnings("decoder"), chosen: [number("i", n), number("j", n)] as [number, number], onChoose: (i: number, j: number) => select({ i, j }) };
  if (!isThere(name)) return <Missing>{say("no_attention")}</Missing>;
  return (
    <>
      <div class="chooser"><LayerAndHead stack="decoder" /></div>
      {hasMask() && !lifted && <Formula name="mask" variant={inColumns() ? "columns" : "rows"} />}
      {hasMask() && <Ask change={{ mask_lifted: !lifted }}>{say(lifted ? "mask_back" : "mask_lift")}</Ask>}
      <div class="pair">
        {alpha ? <Heatmap title={`${score} · ${say("scores")}`} numbers={alpha} signed {...drawn} /> : <Absent of={alpha} title={score} />}
        {(weights || roots) && <Heatmap title={`${share} · ${say("weights")}`} numbers={weights} roots={roots} {...drawn} />}
      </div>
      {hasCross() && <><p>{join([say("padding_mask"), say("padding")])}</p><Padding /></>}
    </>
  );
}

/** The cross-attention of a layer: one head, or all of them together. */
function useCross(layer: number, head: number, how: string, size: number) {
  const weights = useFloats(`decoder.${layer}.cross.weights`);
  const roots = useRoots(`decoder.${layer}.cross.weights`);
  return useMemo(() => {
    const joined = (share: (k: number) => number) => Float32Array.from({ length: size }, (_, k) => {
      if (how === "head") return share(head * size + k);
      const shares = Array.from({ length: heads() }, (_, h) => share(h * size + k));
      return how === "max" ? Math.max(...shares) : mean(shares);
    });
    const numbers = weights && joined((k) => weights[k]);
    // Of bytes only a picture is made, and never a number.
    const shares = numbers ?? (roots && joined((k) => (roots[k] / 255) ** 2));
    return { numbers, roots: shares && Uint8Array.from(shares, (p) => Math.round(255 * Math.sqrt(p))) };
  }, [weights, roots, how, head, size]);
}

/** Who took values from whom: as wires and as a matrix. */
export function Alignment() {
  const how = useSignal("head");
  const layer = number("layer", model.value!.config.decoder_layers);
  const head = number("head", heads());
  const now = trace.value!;
  const targets = labels(now.replay.target_out), sources = labels(now.source);
  const [rows, columns] = [targets.length, sources.length];
  const t = number("i", rows), j = number("j", columns);
  const { numbers, roots } = useCross(layer, head, how.value, rows * columns);
  const gap = 26;
  const most = numbers ? numbers.subarray(t * columns, (t + 1) * columns).reduce((best, value, k, all) => (value > all[best] ? k : best), 0) : 0;
  return (
    <>
      <div class="chooser">
        <LayerAndHead stack="decoder" />
        <Choice title={say("heads_together")} value={how.value} of={[["head", say("one_head")], ["mean", say("mean")], ["max", say("max")]]} onChoose={(value) => { how.value = value; }} />
      </div>
      {roots ? <>
        <div class="scroll tall" tabIndex={0} role="region" aria-label={say("view_cross")}><svg class="wires" viewBox={`0 0 460 ${Math.max(rows, columns) * gap + 10}`} role="img" aria-label={say("view_cross")}>
          {Array.from(roots, (root, k) => {
            const share = (root / 255) ** 2, [r, c] = [Math.floor(k / columns), k % columns];
            return share < 0.03 ? null : <line key={k} x1="150" y1={c * gap + 16} x2="310" y2={r * gap + 16} stroke-opacity={share * (r === t || c === j ? 1 : 0.45)} class={r === t ? "lit" : ""} />;
          })}
          {sources.map((name, c) => <text key={`s${c}`} x="142" y={c * gap + 20} text-anchor="end" class={c === j ? "lit" : ""} onMouseEnter={() => select({ j: c })}>{name}</text>)}
          {targets.map((name, r) => <text key={`t${r}`} x="318" y={r * gap + 20} class={r === t ? "lit" : ""} onMouseEnter={() => select({ i: r })}>{name}</text>)}
        </svg></div>
        <Heatmap title={`${inColumns() ? "A′" : "P"} · ${say("weights")}`} rows={targets} columns={sources} numbers={numbers} roots={roots} turned={inColumns()} chosen={[t, j]} onChoose={(i, column) => select({ i, j: column })} />
        <p>{say("cross_names")}</p>
      </> : <Absent of={roots} />}
      {numbers && <p>{say("most", { target: targets[t], source: sources[most], share: percent(numbers[t * columns + most]) })}</p>}
    </>
  );
}

export const Cross = () => <><Formulas single cross /><Alignment /></>;
