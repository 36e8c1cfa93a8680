// The guided tour: through the views in the order of the lecture, with what there is to see of this sentence and this model.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import { floats, hasMask, mean, model, positionsOf, roots, tokensOf, trace, writes } from "./data";
import { chosenAt, headWidth } from "./attention";
import { headName } from "./parts";
import { covered } from "./pictures/canvas";
import { labels } from "./pictures/tokens";
import { type Change, hasCross, select, selection, type Stack, stacks } from "./state";
import { WORDS } from "./views/beside";
import "./tour.css";
import { isolate, percent, say, show, type Word } from "./words";

/** What is said at a stop, and what is to be seen there. */
interface Content {
  sentences: string[];
  seen: Change;
}
interface Stop {
  view: string;
  title: Word;
  content: () => Promise<Content>;
}
type Values = Record<string, string | number>;

const quoted = (text: string) => `“${isolate(text)}”`;
const number = (value: number) => value.toLocaleString("en");
const content = (seen: Change, ...sentences: [Word, Values?][]): Content => ({
  seen,
  sentences: sentences.map(([key, values]) => say(key, values)),
});

interface Weights {
  name: string;
  heads: number;
  queries: number;
  keys: number;
  at: (head: number, query: number, key: number) => number;
}

/** The weights of an attention; null where there are none. */
async function weightsOf(name: string): Promise<Weights | null> {
  const shape = trace.value!.shapes[`${name}.weights`];
  if (!shape) return null;
  const exact = await floats(`${name}.weights`);
  const drawn = exact ? null : await roots(`${name}.weights`);
  if (!exact && !drawn) return null;
  const [heads, queries, keys] = shape;
  const value = (at: number) => (exact ? exact[at] : (drawn![at] / 255) ** 2);
  return { name, heads, queries, keys, at: (head, query, key) => value((head * queries + query) * keys + key) };
}

async function allWeights(stack: Stack, kind: "self" | "cross"): Promise<Weights[]> {
  const layers = model.value!.config[`${stack}_layers`];
  const found = await Promise.all(Array.from({ length: layers }, (_, layer) => weightsOf(`${stack}.${layer}.${kind}`)));
  return found.filter((each) => each !== null);
}

/** The head for which a measure is largest. */
function best(
  all: Weights[],
  measure: (of: Weights, head: number) => number,
): { of: Weights; head: number; value: number } | null {
  const each = all.flatMap((of) =>
    Array.from({ length: of.heads }, (_, head) => ({ of, head, value: measure(of, head) })),
  );
  return each.reduce<(typeof each)[number] | null>(
    (most, one) => (most === null || one.value > most.value ? one : most),
    null,
  );
}

const indices = (length: number) => Array.from({ length }, (_, k) => k);
const placeOf = (name: string): Change => {
  const [stack, layer, kind] = name.split(".");
  return { stack, layer, kind };
};
/** Tokens or labels that can be chosen: never a special one that decoding leaves out. */
const choices = () => trace.value!.shapes.logits.at(-1)! - (writes() ? 2 : 4);
const entropy = (shares: number[]) => shares.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0);

/** The step at which the most probable token is least probable. */
function hesitates(): { t: number; first: string; p: string; second: string; q: string; entropy: string } {
  const { steps } = trace.value!.replay;
  const probability = (t: number, k: number) =>
    Math.exp(steps[t].top.filter((each) => each.log_prob !== null)[k]?.log_prob ?? -Infinity);
  const t = indices(steps.length).reduce(
    (least, each) => (probability(each, 0) < probability(least, 0) ? each : least),
    0,
  );
  const [first, second] = steps[t].top.filter((each) => each.log_prob !== null);
  const name = (choice: typeof first | undefined) =>
    choice ? quoted(labels({ ids: [choice.id], pieces: [choice.piece], characters: [] })[0]) : "–";
  const one = steps[t].tempered[model.value!.temperatures.indexOf(1)];
  return {
    t,
    first: name(first),
    p: show(probability(t, 0), 4),
    second: name(second),
    q: show(probability(t, 1), 4),
    entropy: show(one[1], 2),
  };
}

async function atWhole(): Promise<Content> {
  const now = trace.value!,
    { parameters, config } = model.value!;
  const { t, first, p, second, q } = hesitates();
  const steps = now.replay.target_out.ids.length;
  return content(
    { t },
    [
      "tour_whole_1",
      {
        n: number(parameters),
        layers: stacks()
          .map((stack) => config[`${stack}_layers`])
          .join(" + "),
        heads: config.heads,
        width: config.width,
      },
    ],
    ["tour_whole_2", { text: quoted(now.text), n: now.source.ids.length, output: quoted(now.output), steps }],
    ["tour_whole_3", { t: t + 1, first, p, second, q }],
  );
}

async function atQuery(): Promise<Content> {
  const [stack] = stacks();
  const names = labels(tokensOf(stack));
  const weights = (await weightsOf(`${stack}.0.self`))!;
  const scores = await floats(`${stack}.0.self.scores`);
  const bias = await floats(`${stack}.0.self.bias`);
  let most = { head: 0, i: 0, j: 0, share: 0 };
  for (const head of indices(weights.heads))
    for (const i of indices(weights.queries))
      for (const j of indices(weights.keys)) {
        const share = weights.at(head, i, j);
        if (i !== j && j < weights.keys - 1 && i < weights.queries - 1 && share > most.share)
          most = { head, i, j, share };
      }
  const at = (most.head * weights.queries + most.i) * weights.keys + most.j;
  const values = {
    i: quoted(names[most.i]),
    j: quoted(names[most.j]),
    head: most.head,
    share: percent(most.share),
    d: headWidth(),
    n: names.length,
    score: scores ? show(scores[at] + (bias?.[at] ?? 0), 2) : "…",
  };
  return content(
    { stack, layer: 0, kind: "self", head: most.head, i: most.i, j: most.j },
    ["tour_query_1", values],
    ["tour_query_2", values],
    ["tour_query_3", values],
  );
}

async function atMatrices(): Promise<Content> {
  const [stack] = stacks();
  const n = tokensOf(stack).ids.length,
    { shapes } = trace.value!;
  const learned = Object.entries(shapes).filter(([name]) =>
    new RegExp(`^parameters\\.${stack}\\.blocks\\.0\\.mixer\\.(query|key|value|output)\\.weight$`).test(name),
  );
  const count = learned.reduce((sum, [, [rows, columns]]) => sum + rows * columns, 0);
  const [rows, columns] = learned[0]?.[1] ?? [0, 0];
  return content(
    { stack, layer: 0, kind: "self" },
    ["tour_matrices_1", { n, rows, columns, d: headWidth() }],
    ["tour_matrices_2", { n, square: number(n * n) }],
    ["tour_matrices_3", { count: number(count), of: number(model.value!.parameters) }],
  );
}

async function atHeads(): Promise<Content> {
  const { config } = model.value!;
  const [stack] = stacks();
  const all = await allWeights(stack, "self");
  // Under a causal mask every head looks back: they differ in how close.
  const causal = stack === "decoder" && hasMask();
  const before = (of: Weights, head: number, i: number) =>
    causal
      ? of.at(head, i, i - 1)
      : indices(i)
          .map((j) => of.at(head, i, j))
          .reduce((a, b) => a + b, 0);
  const back = best(all, (of, head) => mean(indices(of.queries - 1).map((k) => before(of, head, k + 1))))!;
  const broad = best(all, (of, head) =>
    mean(indices(of.queries).map((i) => entropy(indices(of.keys).map((j) => of.at(head, i, j))))),
  )!;
  return content(
    { ...placeOf(back.of.name), head: back.head },
    [
      "tour_heads_1",
      {
        layers: config[`${stack}_layers`],
        heads: config.heads,
        total: config[`${stack}_layers`] * config.heads,
        stack: say(stack),
      },
    ],
    [
      causal ? "tour_heads_previous" : "tour_heads_2",
      { head: headName(back.of.name, back.head), share: percent(back.value) },
    ],
    [
      "tour_heads_3",
      { head: headName(broad.of.name, broad.head), nats: show(broad.value, 2), most: show(Math.log(broad.of.keys), 2) },
    ],
  );
}

async function atPositions(): Promise<Content> {
  const { config } = model.value!;
  const [stack] = stacks();
  const kind = positionsOf(config),
    tokens = tokensOf(stack),
    n = tokens.ids.length;
  const values: Values = { n, how: say(`positions_${kind}`), token: quoted(labels(tokens)[0]) };
  if (kind === "rotary") values.slow = show((n - 1) * 10000 ** (2 / headWidth() - 1), 3);
  if (kind === "alibi")
    Object.assign(values, {
      first: show(2 ** (-8 / config.heads), 3),
      last: show(2 ** -8, 4),
      far: show((n - 1) * 2 ** (-8 / config.heads), 1),
    });
  if (kind === "relative") {
    const bias = await floats(`${stack}.0.self.bias`);
    Object.assign(values, {
      first: bias ? show(bias[0], 2) : "…",
      far: bias ? show(bias[(n - 1) * n], 2) : "…",
    });
  }
  if (["sinusoidal", "tensor2tensor", "learned"].includes(kind)) {
    const [before, after] = [await floats(`${stack}.embedding`), await floats(`${stack}.input`)];
    const length = (of: (c: number) => number) => show(Math.hypot(...indices(config.width).map(of)), 1);
    Object.assign(
      values,
      before && after
        ? {
            a: length((c) => before[c]),
            e: length((c) => after[c] - (config.embedding_norm ? 0 : before[c])),
          }
        : { a: "…", e: "…" },
    );
  }
  const added = config.embedding_norm ? "tour_positions_normed" : "tour_positions_added";
  const own: Record<typeof kind, Word> = {
    rotary: "tour_positions_rotary",
    alibi: "tour_positions_alibi",
    relative: "tour_positions_relative",
    sinusoidal: added,
    tensor2tensor: added,
    learned: added,
    none: "tour_positions_none",
  };
  return content({ i: n - 1, j: 0 }, ["tour_positions_1", values], [own[kind], values], ["tour_positions_3", values]);
}

async function atBeside(): Promise<Content> {
  const n = WORDS,
    { width } = model.value!.config;
  return content(
    {},
    ["tour_beside_1", { n }],
    ["tour_beside_2", { n, layers: n - 1 }],
    ["tour_beside_3", { n, d: width, attention: number(n * n * width), recurrence: number(n * width * width) }],
  );
}

async function atBlock(): Promise<Content> {
  const { config } = model.value!;
  const [stack] = stacks();
  const width = config.width,
    pre = config.norm === "pre";
  const tokens = labels(tokensOf(stack));
  const length = async (name: string, at: number) => {
    const values = await floats(`${stack}.${name}`);
    return values ? Math.hypot(...values.subarray(at * width, (at + 1) * width)) : Number.NaN;
  };
  const end = config[`${stack}_layers`] - 1,
    part = pre ? "residual" : "norm";
  const lengths = await Promise.all(tokens.map((_, k) => length(`${end}.feed_forward.${part}`, k)));
  const i = lengths.reduce((most, value, k) => (value > lengths[most] ? k : most), 0);
  const shown = async (name: string) => show(await length(name, i), 1);
  return content(
    { stack, layer: 0, i },
    ["tour_block_1", { inner: config.feed_forward, width, mixer: say(`mixer_${config[`${stack}_mixer`]}`) }],
    [
      "tour_block_2",
      { token: quoted(tokens[i]), before: await shown("input"), after: show(lengths[i], 1), layers: end + 1 },
    ],
    [
      pre ? "tour_block_pre" : "tour_block_post",
      { token: quoted(tokens[i]), norm: say(`norm_${config.norm_kind}`), length: await shown("0.self.norm") },
    ],
  );
}

async function atStep(): Promise<Content> {
  const { t, first, p, second, q, entropy: nats } = hesitates();
  const size = choices();
  return content(
    { t },
    ["tour_step_1", { t: t + 1, n: t, size: number(size) }],
    ["tour_step_2", { first, p, second, q }],
    ["tour_step_3", { nats, most: show(Math.log(size), 2) }],
  );
}

async function atLabels(): Promise<Content> {
  const { t, first, p, second, q, entropy: nats } = hesitates();
  const size = choices();
  return content(
    { t },
    ["tour_labels_1", { n: trace.value!.replay.steps.length, size: number(size) }],
    ["tour_labels_2", { first, p, second, q }],
    ["tour_step_3", { nats, most: show(Math.log(size), 2) }],
  );
}

async function atMask(): Promise<Content> {
  const n = tokensOf("decoder").ids.length,
    names = labels(tokensOf("decoder"));
  const i = Math.floor((n - 1) / 2);
  return content(
    { stack: "decoder", layer: 0, kind: "self", ...chosenAt("decoder", i), j: i },
    ["tour_mask_1", { token: quoted(names[i]), seen: i + 1, n }],
    ["tour_mask_2", { hidden: number((n * (n - 1)) / 2), of: number(n * n) }],
    [hasMask() ? "tour_mask_3" : "tour_mask_none", { n }],
  );
}

async function atCross(): Promise<Content> {
  const now = trace.value!;
  const answers = labels(now.replay.target_out),
    names = labels(now.source);
  const all = await allWeights("decoder", "cross");
  const peak = (of: Weights, head: number, t: number) =>
    indices(of.keys).reduce((most, j) => (of.at(head, t, j) > of.at(head, t, most) ? j : most), 0);
  const distinct = (of: Weights, head: number) => new Set(indices(of.queries).map((t) => peak(of, head, t))).size;
  const found = best(
    all,
    (of, head) =>
      (distinct(of, head) / of.queries) * mean(indices(of.queries).map((t) => of.at(head, t, peak(of, head, t)))),
  );
  if (!found) return content({}, ["tour_cross_1", { n: names.length }]);
  const { of, head } = found;
  const t = indices(of.queries).reduce(
    (most, each) => (of.at(head, each, peak(of, head, each)) > of.at(head, most, peak(of, head, most)) ? each : most),
    0,
  );
  const j = peak(of, head, t);
  return content(
    { ...placeOf(of.name), head, i: t, t, j },
    ["tour_cross_1", { n: names.length }],
    [
      "tour_cross_2",
      {
        head: headName(of.name, head),
        token: quoted(answers[t]),
        source: quoted(names[j]),
        share: percent(of.at(head, t, j)),
      },
    ],
    ["tour_cross_3", { distinct: distinct(of, head), steps: of.queries, n: names.length }],
  );
}

async function atLoss(): Promise<Content> {
  const now = trace.value!,
    shown = now.reference ?? now.replay;
  const { losses } = shown,
    names = labels(shown.target_out);
  const worst = losses.reduce((most, value, k) => (value > losses[most] ? k : most), 0);
  const last = losses.length - 1;
  const sum = losses.reduce((a, b) => a + b, 0);
  return content(
    { t: worst },
    [
      now.reference ? "tour_loss_1" : "tour_loss_own",
      { sum: show(sum, 4), mean: show(mean(losses), 4), n: losses.length },
    ],
    [
      "tour_loss_2",
      { token: quoted(names[worst]), loss: show(losses[worst], 4), p: show(Math.exp(-losses[worst]), 4) },
    ],
    ...(writes()
      ? [["tour_loss_3", { token: names[last], p: show(Math.exp(-losses[last]), 4) }] as [Word, Values]]
      : []),
  );
}

/** The stops that this model has. */
function stops(): Stop[] {
  const attention = model.value!.config[`${stacks()[0]}_mixer`] === "attention";
  const all: (Stop | false)[] = [
    { view: "whole", title: "view_whole", content: atWhole },
    attention && { view: "query", title: "view_query", content: atQuery },
    attention && { view: "matrices", title: "view_matrices", content: atMatrices },
    attention && { view: "heads", title: "view_heads", content: atHeads },
    { view: "positions", title: "view_positions", content: atPositions },
    { view: "beside", title: "view_beside", content: atBeside },
    { view: "block", title: "view_block", content: atBlock },
    writes()
      ? { view: "step", title: "view_step", content: atStep }
      : { view: "labels", title: "view_labels", content: atLabels },
    writes() &&
      model.value!.config.decoder_mixer === "attention" && { view: "mask", title: "view_mask", content: atMask },
    hasCross() && { view: "cross", title: "view_cross", content: atCross },
    { view: "loss", title: "view_loss", content: atLoss },
  ];
  return all.filter((each) => each !== false);
}

const sentences = signal<string[]>([]);
const titleOf = (stop: Stop) => say(stop.title, { stack: say(stacks()[0]) });

/** The stop that the address names, from 1; 0 while there is no tour. */
const stopOf = (count: number) => Math.max(0, Math.min(count, Number.parseInt(selection.value.tour, 10) || 0));

export const TourButton = () => (
  <button
    type="button"
    class="start-tour"
    aria-pressed={selection.value.tour !== ""}
    onClick={() => select({ tour: selection.value.tour ? "" : 1 })}
  >
    {say("tour")}
  </button>
);

export function Tour() {
  const now = trace.value,
    { lang, notation } = selection.value;
  const all = now ? stops() : [];
  const at = stopOf(all.length);
  const next = useRef<HTMLButtonElement>(null);
  const go = (to: number) => select({ tour: to < 1 || to > all.length ? "" : to });
  useEffect(() => {
    if (!at) return;
    let current = true;
    const stop = all[at - 1];
    stop.content().then((found) => {
      if (!current) return;
      sentences.value = found.sentences;
      select({ view: stop.view, ...found.seen });
      requestAnimationFrame(() => document.querySelector("article")?.scrollIntoView()); // when the view has its height
    });
    return () => {
      current = false;
    };
  }, [at, now]);
  useEffect(() => {
    let current = true;
    if (at)
      all[at - 1].content().then((found) => {
        if (current) sentences.value = found.sentences;
      });
    return () => {
      current = false;
    };
  }, [lang, notation]);
  useEffect(() => {
    if (!at) return;
    next.current?.focus({ preventScroll: true });
    const key = (event: KeyboardEvent) => {
      const { target } = event;
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const aside = target instanceof Element && target.closest(".tour") !== null;
      if (!aside && target !== document.body) return; // what has the focus has its own keys
      const to = { ArrowRight: at + 1, ArrowLeft: Math.max(1, at - 1), Escape: 0 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      go(to);
    };
    addEventListener("keydown", key, true);
    return () => removeEventListener("keydown", key, true);
  }, [at, all.length]);
  const panel = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    if (!panel.current) return;
    const { current } = panel;
    const observer = new ResizeObserver(() => (covered.value = current.offsetHeight));
    observer.observe(current);
    return () => {
      observer.disconnect();
      covered.value = 0;
    };
  }, [at > 0]);
  if (!at) return null;
  return (
    <aside class="tour" ref={panel} aria-label={say("tour")}>
      <div class="progress" role="group" aria-label={say("tour_stops")}>
        {all.map((stop, k) => (
          <button
            type="button"
            key={stop.view}
            class={k < at ? "done" : ""}
            aria-current={k === at - 1 ? "step" : undefined}
            aria-label={titleOf(stop)}
            title={titleOf(stop)}
            onClick={() => go(k + 1)}
          />
        ))}
      </div>
      <div class="said" aria-live="polite">
        <b>
          {at} / {all.length} · {titleOf(all[at - 1])}
        </b>
        {sentences.value.map((sentence) => (
          <p key={sentence}>{sentence}</p>
        ))}
      </div>
      <div class="go">
        <button type="button" disabled={at === 1} onClick={() => go(at - 1)}>
          ← {say("tour_previous")}
        </button>
        <button type="button" class="main" ref={next} onClick={() => go(at + 1)}>
          {say(at === all.length ? "tour_end" : "tour_next")} →
        </button>
        <button type="button" onClick={() => go(0)}>
          {say("tour_leave")}
        </button>
      </div>
    </aside>
  );
}
