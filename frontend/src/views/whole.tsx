// The whole model as one running picture: a token is fed, light travels up, and the answer grows.
import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { dark, paper } from "../colours";
import { begin, floats, hasMask, model, positionsOf, roots, tokensOf, trace, writes } from "../data";
import { projector } from "../keys";
import { widest } from "../pictures/canvas";
import { nameOf, type Span, wordsOf } from "../pictures/pieces";
import { type Room, useRoom } from "../pictures/room";
import { csvOf, Save, together } from "../pictures/save";
import { isSpecial, labels, tokenName } from "../pictures/tokens";
import { type Stack, hasCross, number, select, selection, stacks } from "../state";
import { type Group, type Scene, type Theme, type Weights, paint, strip } from "../whole/paint";
import {
  type Part,
  type Plan,
  type Row,
  type Tower,
  type Unplaced,
  legible,
  letters,
  plan,
  rowsOf,
} from "../whole/plan";
import { type Moment, type Pass, end, endOf, moment, passes, stops, towerOf } from "../whole/time";
import type { Architecture, Tokens } from "../wire";
import { type Word, isolate, ordinal, percent, say, show } from "../words";
import "./whole.css";

const SPEEDS = [0.25, 0.5, 1, 2, 4];
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const masked = () => hasMask() && !trace.value!.what_if.mask_lifted;

/** The part of a stack in the words of the page. */
function title(row: { part: Part; missing: boolean }, stack: Stack): string {
  const { config } = model.value!;
  if (row.part === "self") {
    const mixer = config[`${stack}_mixer`];
    if (mixer !== "attention") return say(`mixer_${mixer}`);
    return say(stack === "decoder" && masked() ? "whole_masked" : "whole_self");
  }
  const names: Record<Exclude<Part, "self">, Word> = {
    embedding: "whole_embedding",
    positions: "positions_word",
    norm: "norm",
    cross: "whole_cross",
    feed_forward: "feed_forward",
    add: "whole_add",
    add_norm: "whole_add_norm",
    output: writes() ? "whole_output" : "whole_labels",
  };
  return say(names[row.part]);
}

/** Whether a part is missing: from the model, or only while one looks. */
const isMissing = (row: Row) => row.missing || (row.part === "positions" && trace.value!.what_if.positions_off);

/** The view that shows a part. */
function viewOf(row: Row, stack: Stack): Record<string, string | number> {
  const layer = row.layer ?? 0;
  switch (row.part) {
    case "embedding":
      return { view: "input" };
    case "positions":
      return { view: "positions" };
    case "self":
      return { view: "heads", stack, layer, kind: "self" };
    case "cross":
      return { view: "cross", stack, layer, kind: "cross" };
    case "output":
      return { view: writes() ? "step" : "labels" };
    default:
      return { view: "block", stack, layer };
  }
}

/** Names of tokens where there is room for each, and else of words, or of several of them. */
function grouped(tokens: Tokens, pitch: number, least: number): Omit<Group, "upright">[] {
  const short = (span: Span) => {
    const text = nameOf(tokens, span);
    return text.length > 14 ? `${text.slice(0, 13)}…` : text;
  };
  if (pitch >= least) return labels(tokens).map((name, k) => ({ first: k, end: k + 1, text: () => name }));
  const found: Span[] = [];
  const alone = (span: Span) => isSpecial(tokens.ids[span[0]]);
  const apart = (one: Span, other: Span) => ((other[0] + other[1] - one[0] - one[1]) / 2) * pitch >= least;
  for (const [first, end] of wordsOf(tokens)) {
    const [before, last] = [found[found.length - 2], found[found.length - 1]];
    if (last && alone([first, end]) && before && !alone(before) && !alone(last) && !apart(last, [first, end]))
      before[1] = found.pop()![1];
    const full = last && (last[1] - last[0]) * pitch >= least && (!before || apart(before, last));
    if (!last || alone([first, end]) || alone(last) || full) found.push([first, end]);
    else last[1] = end;
  }
  return found.map(([first, end]) => ({ first, end, text: (until) => short([first, Math.min(end, until)]) }));
}

function theme(element: Element): Theme {
  const style = getComputedStyle(element);
  const of = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: of("ink"),
    faint: of("faint"),
    paper: of("paper"),
    accent: of("accent"),
    light: of("light"),
    plus: of("plus"),
    minus: of("minus"),
    bad: of("bad"),
    heads: Array.from({ length: 8 }, (_, k) => of(`head-${k}`)),
    font: style.fontFamily,
  };
}

/** The trace's tokens at the columns of a stack, and what is answered there. */
const answered = () => trace.value!.replay.target_out;

/** Below the picture, for the name of what one points at, in em. */
const INFO = 1.2;

/** What there is room for: the picture, and the smallest of its letters. */
interface Size extends Room {
  least: number;
}

/** All that is drawn but the vectors and the weights. */
function arrange(size: Size) {
  const now = trace.value!,
    { config } = model.value!;
  const { em } = size;
  const kinds = stacks();
  const tokens = { encoder: now.source, decoder: now.replay.decoder_in };
  const counts = { encoder: tokens.encoder.ids.length, decoder: tokens.decoder.ids.length };
  const boxes = kinds.flatMap((stack) =>
    rowsOf(config, stack)
      .filter((row) => row.kind === "box")
      .map((row) => ({ title: title(row, stack), remark: remark(row) })),
  );
  const names = Math.max(
    (widest(boxes.map((each) => each.title)) * letters(size, 0.78)) / 13,
    (0.93 * (widest(boxes.map((each) => each.remark)) * letters(size, 0.66))) / 13, // which are not bold
  );
  const letter = letters(size, 0.75);
  const long = (of: string[]) => Math.min(9 * letter, (widest(of) * letter) / 13);
  // How wide a column will be is only known afterwards, and the names' height decides on the height alone.
  const measure = (labelled: Record<Stack | "answers", number>) =>
    plan(config, { ...size, stacks: kinds, counts, labels: labelled, names });
  const first = measure({ encoder: 0, decoder: 0, answers: 0 });
  const pitch = (stack: Stack) => first.towers.find((tower) => tower.stack === stack)?.pitch ?? 0;
  const last = kinds[kinds.length - 1];
  const named = (of: Tokens, stack: Stack): Group[] => {
    const found = grouped(of, pitch(stack), 1.15 * letter).map((group) => {
      const room = pitch(stack) * (group.end - group.first) - 4;
      return { ...group, upright: (widest([group.text(group.end)]) * letter) / 13 < room };
    });
    // Single tokens all stand alike.
    const alike = found.length === of.ids.length && !found.every((group) => group.upright);
    return alike ? found.map((group) => ({ ...group, upright: false })) : found;
  };
  const groups = {
    encoder: named(tokens.encoder, "encoder"),
    decoder: named(tokens.decoder, "decoder"),
    answers: named(answered(), last),
  };
  const high = (row: Stack | "answers") => {
    const turned = groups[row].filter((group) => !group.upright).map((group) => group.text(group.end));
    const lines = row === "decoder" && unframed().length ? 1.6 * em + letter : 0; // beside the name of the stack
    return Math.max(lines, turned.length ? 0.87 * long(turned) + 0.8 * em : letter + 0.55 * em);
  };
  return {
    plan: measure({ encoder: high("encoder"), decoder: high("decoder"), answers: high("answers") }),
    groups,
  };
}

/** The vectors and weights of the trace, as they arrive. */
function useScene(
  drawn: ReturnType<typeof arrange> | null,
  box: { current: HTMLElement | null },
  redraw: () => void,
): Scene | null {
  const now = trace.value!;
  const colours = `${dark.value} ${paper.value}`;
  const scene = useMemo((): Scene | null => {
    if (!drawn || !box.current) return null;
    const { config } = model.value!;
    const { steps } = now.replay,
      answers = answered();
    const top = steps.map((step) =>
      step.top
        .filter((each) => each.log_prob !== null)
        .map((each) => ({ text: tokenName(each.id, each.piece), p: Math.exp(each.log_prob!) })),
    );
    const chosen = steps.map((step, t) =>
      step.top.filter((each) => each.log_prob !== null).findIndex((each) => each.id === answers.ids[t]),
    );
    return {
      ...drawn,
      theme: theme(box.current),
      ratio: Math.min(2, devicePixelRatio || 1),
      strips: new Map(),
      weights: new Map(),
      off: new Set(now.what_if.heads_off.map(([name, head]) => `${name} ${head}`)),
      top,
      chosen,
      answers: labels(answers),
      begin: begin(),
      without: new Set(config.without),
      writes: writes(),
      mixers: { encoder: config.encoder_mixer, decoder: config.decoder_mixer },
      kernel: config.kernel,
      causal: hasMask(),
      label: 0,
      looked: null,
    };
  }, [drawn, now, colours]);
  useEffect(() => {
    if (!scene) return;
    let current = true;
    const then = <T,>(wanted: Promise<T | null>, use: (found: T) => void) =>
      wanted.then((found) => {
        if (current && found) {
          use(found);
          redraw();
        }
      });
    for (const tower of scene.plan.towers)
      for (const row of tower.rows)
        if (row.kind === "lane")
          then(floats(row.name), (values) =>
            scene.strips.set(row.name, strip(tower, row, values, scene.ratio, scene.theme)),
          );
        else if (row.part === "self" || row.part === "cross") {
          const name = row.name.replace(/\.output$/, ""),
            shape = now.shapes[`${name}.weights`];
          if (shape)
            then(roots(`${name}.weights`), (found) =>
              scene.weights.set(name, { heads: shape[0], queries: shape[1], keys: shape[2], roots: found }),
            );
        }
    return () => {
      current = false;
    };
  }, [scene]);
  return scene;
}

/** What a query takes most from: the head, the key and the weight. */
function strongest(weights: Weights, query: number, off: (head: number) => boolean) {
  let best = { head: 0, key: 0, weight: 0 };
  for (let head = 0; head < weights.heads; head++)
    for (let key = 0; key < weights.keys; key++) {
      const weight = (weights.roots[(head * weights.queries + query) * weights.keys + key] / 255) ** 2;
      if (weight > best.weight && !off(head)) best = { head, key, weight };
    }
  return best;
}

/** What happens at a moment, in one sentence with this model's numbers. */
function narration(scene: Scene, now: Moment): string {
  const { config } = model.value!;
  const { pass } = now;
  const tower = towerOf(scene.plan, pass);
  const row = tower.rows[now.row];
  const t = writes() ? pass.t : scene.label;
  const quoted = (text: string) => `“${isolate(text)}”`;
  const tokens = labels(tokensOf(tower.stack));
  const where =
    t === null
      ? say("encoder")
      : writes()
        ? say("whole_step", { t: t + 1, of: scene.answers.length })
        : say(stacks()[0]);
  const block = row.layer === null ? "" : say("whole_block", { layer: row.layer });
  const comma = selection.value.lang === "zh" ? "，" : ", ";
  const sentence = (key: Word, values: Record<string, string | number> = {}) =>
    [where, block, say(key, values)].filter(Boolean).join(comma);
  if (now.stage === "back")
    return t === null
      ? sentence("narration_memory")
      : t + 1 < scene.answers.length
        ? sentence("narration_back", { token: quoted(scene.answers[t]) })
        : say("narration_end", { answer: quoted(trace.value!.output) });
  if (now.stage === "answer") {
    const [first, second] = scene.top[t ?? 0];
    return sentence("narration_answer", {
      token: quoted(scene.answers[t ?? 0]),
      first: quoted(first.text),
      p: show(first.p, 4),
      second: second ? quoted(second.text) : "–",
      q: second ? show(second.p, 4) : "0",
    });
  }
  const token = quoted(tokens[pass.last]);
  if (isMissing(row)) return sentence("narration_missing", { part: title(row, tower.stack) });
  switch (row.part) {
    case "embedding":
      return sentence(pass.last > pass.first ? "narration_embeddings" : "narration_embedding", {
        width: config.width,
        token,
        n: pass.last - pass.first + 1,
      });
    case "positions":
      return sentence("narration_positions", { how: say(`positions_${positionsOf(config)}`) });
    case "norm":
      return sentence("narration_norm", { norm: say(`norm_${config.norm_kind}`) });
    case "add":
    case "add_norm":
      return sentence("narration_add");
    case "feed_forward":
      return sentence("narration_feed_forward", { width: config.width, inner: config.feed_forward });
    case "output":
      return sentence(writes() ? "narration_output" : "narration_labels");
    default: {
      const name = row.name.replace(/\.output$/, ""),
        weights = scene.weights.get(name);
      if (!weights)
        return sentence(config[`${tower.stack}_mixer`] === "attention" ? "narration_self" : "narration_mixer", {
          mixer: title(row, tower.stack),
        });
      const best = strongest(weights, pass.last, (each) => scene.off.has(`${name} ${each}`));
      const key = quoted(labels(tokensOf(row.part === "cross" ? "encoder" : tower.stack))[best.key]);
      if (pass.last > pass.first) return sentence("narration_self");
      return sentence(row.part === "cross" ? "narration_cross" : masked() ? "narration_masked" : "narration_unmasked", {
        token,
        key,
        head: best.head,
        share: percent(best.weight),
      });
    }
  }
}

/** The places of the wires that do not move: behind the canvas. */
function Ground(props: { plan: Plan }) {
  const {
    plan: { towers, wires, em, width, height, answers, back },
  } = props;
  const round = (points: [number, number][]) =>
    points
      .map(([x, y], k) => {
        const [before, after] = [points[k - 1], points[k + 1]];
        if (!before || !after) return `${k ? "L" : "M"}${x},${y}`;
        const near = ([a, b]: [number, number]) => {
          const far = Math.hypot(a - x, b - y),
            by = Math.min(0.5 * em, far / 2) / (far || 1);
          return `${x + (a - x) * by},${y + (b - y) * by}`;
        };
        return `L${near(before)}Q${x},${y} ${near(after)}`;
      })
      .join("");
  const last = towers[towers.length - 1];
  const { without } = model.value!.config;
  const { distribution } = props.plan;
  const middle = distribution.y + distribution.height / 2;
  const out = last.rows[last.rows.length - 1].y + last.rows[last.rows.length - 1].height / 2;
  const level = Math.abs(middle - out) < distribution.height / 2 ? out : middle;
  const outlet: [number, number][] =
    distribution.x < last.left && towers.length > 1
      ? [
          [last.left - 0.3 * em, out],
          [props.plan.trunk, out],
          [props.plan.trunk, level],
          [distribution.x + distribution.width, level],
        ]
      : [
          [last.left + 2 * em, answers.y],
          [last.left + 2 * em, distribution.y + distribution.height - 0.2 * em],
        ];
  return (
    <svg class="ground" width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      <defs>
        <marker
          id="whole-arrow"
          viewBox="0 0 8 8"
          refX="6"
          refY="4"
          markerUnits="userSpaceOnUse"
          markerWidth="8"
          markerHeight="8"
          orient="auto-start-reverse"
        >
          <path d="M0,0L8,4L0,8z" />
        </marker>
      </defs>
      {towers.map((tower) => (
        <g key={tower.stack}>
          <text
            class="stack"
            font-size={letters(props.plan, 0.85)}
            text-anchor={tower.side === "right" ? "start" : "end"}
            x={
              tower.side === "right"
                ? tower.right + 1.6 * em
                : tower.side === "left"
                  ? tower.left - 1.6 * em
                  : tower.right
            }
            y={tower.name}
            dominant-baseline="central"
          >
            {say(tower.stack)}
          </text>
          {tower.stack === "decoder" && tower.side !== "inside" && (
            <text
              class="lack"
              font-size={letters(props.plan, 0.66)}
              text-anchor={tower.side === "right" ? "start" : "end"}
              x={tower.side === "right" ? tower.right + 1.6 * em : tower.left - 1.6 * em}
              y={tower.name + letters(props.plan, 0.9)}
              dominant-baseline="central"
            >
              {unframed()
                .map((part) => say(`whole_no_${part}`))
                .join(" · ")}
            </text>
          )}
          {blocks(tower).map(([layer, top, bottom]) => (
            <rect
              key={layer}
              class="block"
              x={tower.left - 0.55 * em}
              width={tower.right - tower.left + 1.1 * em}
              y={top}
              height={bottom - top}
              rx={0.5 * em}
            />
          ))}
          {Array.from({ length: tower.count }, (_, k) => (
            <line key={k} class="column" x1={tower.at(k)} x2={tower.at(k)} y1={tower.bottom} y2={tower.top} />
          ))}
          {tower.rows.map(
            (row, k) =>
              row.kind === "box" && (
                <rect
                  key={k}
                  class={`box ${row.part} ${isMissing(row) ? "gone" : ""}`}
                  x={tower.left - 0.3 * em}
                  width={tower.right - tower.left + 0.6 * em}
                  y={row.y}
                  height={row.height}
                  rx={Math.min(0.35 * em, row.height / 2)}
                />
              ),
          )}
        </g>
      ))}
      {wires.map((wire, k) => (
        <path
          key={k}
          class={`wire ${wire.kind} ${wire.missing ? "gone" : ""}`}
          d={round(wire.points)}
          marker-end="url(#whole-arrow)"
        />
      ))}
      <path class="wire" d={round(outlet)} marker-end="url(#whole-arrow)" />
      {writes() && (
        <path
          class={`wire feedback ${without.includes("shift") ? "gone" : ""}`}
          marker-end="url(#whole-arrow)"
          d={round([
            [last.right, answers.y + answers.height - 0.8 * em],
            [back, answers.y + answers.height - 0.8 * em],
            [back, last.bottom + 0.4 * em],
            [last.right + 0.4 * em, last.bottom + 0.4 * em],
          ])}
        />
      )}
    </svg>
  );
}

const boxes = (tower: Tower, part: Part) => tower.rows.filter((row) => row.kind === "box" && row.part === part);

/** From where to where each block goes. */
const blocks = (tower: Tower) =>
  [...new Set(tower.rows.map((row) => row.layer))]
    .filter((layer) => layer !== null)
    .map((layer): [number, number, number] => {
      const own = tower.rows.filter((row) => row.layer === layer);
      return [layer, own[own.length - 1].y - 2, own[0].y + own[0].height + 2];
    });

/** Whether positions are a matter of self-attention, and not added before it. */
const isInside = (kind: Architecture["positions"]): kind is "rotary" | "alibi" | "relative" =>
  kind === "rotary" || kind === "alibi" || kind === "relative";

/** What a part lacks: from the model, or only while one looks. */
function lacks(row: Unplaced): Word[] {
  const { config } = model.value!,
    { positions_off } = trace.value!.what_if;
  if (row.part === "output") return config.without.includes("end") ? ["whole_no_end"] : [];
  if (row.part !== "self" && row.part !== "cross") return [];
  const inside = row.part === "self" && isInside(config.positions);
  return [
    ...(inside && (positionsOf(config) === "none" || positions_off) ? (["whole_no_positions"] as const) : []),
    ...(row.name.startsWith("decoder") && row.part === "self" && !masked() ? (["whole_no_mask"] as const) : []),
    ...(config.without.includes("scaling") ? (["whole_no_scaling"] as const) : []),
  ];
}

/** What the input of the decoder lacked in training. */
const unframed = () => (["begin", "shift"] as const).filter((part) => model.value!.config.without.includes(part));

/** What more there is to say of a part: what it lacks, or positions that are not added. */
function remark(row: Unplaced): string {
  const { positions } = model.value!.config;
  const lacking = lacks(row);
  if (lacking.length) return lacking.map((word) => say(word)).join(" · ");
  return row.part === "self" && isInside(positions) ? say(`whole_${positions}`) : "";
}

/** The names of a stack's boxes for which there is room, and what more there is to say of them. */
function linesOf(tower: Tower, of: Plan): { row: Row; y: number; remark?: string }[] {
  const boxes = tower.rows.filter((row) => row.kind === "box");
  const names = boxes.map((row) => ({ row, y: row.y + row.height / 2 }));
  if (tower.side === "inside") return names;
  const height = letters(of, 0.78);
  const minor = (row: Row) => ["norm", "add", "add_norm"].includes(row.part) && !isMissing(row);
  const more = names.flatMap((line) => {
    const more = remark(line.row);
    return more ? [{ ...line, y: line.y + height + 1, remark: more }] : [];
  });
  return legible(
    [
      ...names.filter(({ row }) => !minor(row)),
      ...more.filter(({ row }) => lacks(row).length > 0),
      ...names.filter(({ row }) => minor(row)),
      ...more,
    ],
    height,
    tower.name,
  );
}

interface Looked {
  row: Row | null;
  stack: Stack;
  position: number | null;
}

/** The names of boxes, and where one can point or click: before the canvas. */
function Signs(props: {
  plan: Plan;
  looked: Looked | null;
  onLook: (looked: Looked | null) => void;
  onOpen: (row: Row, stack: Stack) => void;
  onStep: (t: number) => void;
}) {
  const {
    plan,
    plan: { towers, em, width, height },
    looked,
  } = props;
  const small = letters(plan, 0.66);
  const tapped = useRef("");
  /** A finger cannot point: its first tap looks, and the second one opens. */
  const click = (event: PointerEvent, row: Row, stack: Stack) => {
    if (event.pointerType !== "touch" || tapped.current === row.name) {
      props.onOpen(row, stack);
      return;
    }
    tapped.current = row.name;
    props.onLook({ row, stack, position: null });
  };
  return (
    <svg
      class="signs"
      width={width}
      height={height}
      viewBox={`0 0 ${width} ${height}`}
      role="group"
      aria-label={say("view_whole")}
    >
      {towers.map((tower) => {
        const { stack, side } = tower;
        const x =
          side === "inside" ? tower.right - 0.2 * em : side === "left" ? tower.left - 1.6 * em : tower.right + 1.6 * em;
        const lines = linesOf(tower, plan);
        const named = new Set(lines.map((line) => !line.remark && line.row));
        return (
          <g key={stack} class={side}>
            <rect
              class="columns"
              x={tower.left}
              y={tower.top}
              width={tower.right - tower.left}
              height={tower.foot - tower.top}
              onPointerMove={(event) => {
                const left = event.currentTarget.getBoundingClientRect().left;
                const position = Math.round((event.clientX - left + tower.left - tower.at(0)) / tower.pitch);
                props.onLook({ row: null, stack, position: Math.max(0, Math.min(tower.count - 1, position)) });
              }}
              onPointerLeave={() => props.onLook(null)}
              onClick={() => {
                if (looked?.position == null) return;
                if (stack === "decoder") props.onStep(looked.position - begin());
                else select(writes() ? { i: looked.position } : { i: looked.position, t: looked.position });
              }}
            />
            {tower.rows.map(
              (row) =>
                row.kind === "box" && (
                  <g
                    key={row.name + row.part}
                    class={`sign ${row.part} ${looked?.row === row ? "lit" : ""} ${isMissing(row) ? "gone" : ""}`}
                    role="button"
                    tabIndex={0}
                    data-name={row.name}
                    aria-label={described(row, stack)}
                    onPointerEnter={(event) =>
                      event.pointerType === "mouse" && props.onLook({ row, stack, position: null })
                    }
                    onPointerLeave={() => props.onLook(null)}
                    onFocus={() => props.onLook({ row, stack, position: null })}
                    onBlur={() => props.onLook(null)}
                    onClick={(event) => click(event as unknown as PointerEvent, row, stack)}
                    onKeyDown={(event) => {
                      if (event.key === "Enter") props.onOpen(row, stack);
                    }}
                  >
                    <rect
                      x={tower.left - 0.3 * em}
                      width={tower.right - tower.left + 0.6 * em}
                      y={row.y}
                      height={row.height}
                      rx={Math.min(0.35 * em, row.height / 2)}
                    />
                    {side !== "inside" && (
                      <rect
                        class="hit"
                        x={side === "left" ? x - plan.names : x - 0.4 * em}
                        width={plan.names + 0.4 * em}
                        y={row.y - 0.1 * em}
                        height={Math.max(row.height, 0.9 * em)}
                      />
                    )}
                    {named.has(row) && (
                      <text
                        x={x}
                        y={row.y + (side === "inside" && row.height > 2 * em ? 0.75 * em : row.height / 2)}
                        font-size={letters(plan, side === "inside" ? 0.66 : 0.78)}
                        text-anchor={side === "right" ? "start" : "end"}
                        dominant-baseline="central"
                      >
                        {title(row, stack)}
                      </text>
                    )}
                  </g>
                ),
            )}
            {lines.map(
              ({ row, y, remark }) =>
                remark && (
                  <text
                    key={row.name}
                    class={`remark ${lacks(row).length ? "lack" : ""}`}
                    x={x}
                    y={y}
                    font-size={small}
                    text-anchor={side === "left" ? "end" : "start"}
                    dominant-baseline="central"
                  >
                    {remark}
                  </text>
                ),
            )}
            {side !== "inside" &&
              boxes(tower, "self").map((own) => (
                <text
                  key={own.name}
                  class="layer"
                  x={side === "left" ? tower.right + 0.8 * em : tower.left - 0.8 * em}
                  y={own.y + own.height / 2}
                  text-anchor={side === "left" ? "start" : "end"}
                  dominant-baseline="central"
                  font-size={small}
                >
                  {own.layer}
                </text>
              ))}
          </g>
        );
      })}
    </svg>
  );
}

/** A box in words: what it is, its canonical name, and the shape of what leaves it. */
function described(row: Row, stack: Stack): string {
  const shape = trace.value!.shapes[row.name];
  return [
    `${say(stack)}: ${title(row, stack)}`,
    row.name,
    shape?.join(" × "),
    remark(row),
    isMissing(row) ? say("whole_missing") : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

export function Whole() {
  const { lang, notation } = selection.value;
  const now = trace.value!;
  const [box, room] = useRoom(now, projector.value);
  const size = useMemo(
    (): Size | null => room && { ...room, height: room.height - INFO * room.em, least: projector.value ? 24 : 11 },
    [room],
  );
  const drawn = useMemo(() => size && arrange(size), [size, now, lang, notation]);
  const canvas = useRef<HTMLCanvasElement>(null);
  const slider = useRef<HTMLInputElement>(null);
  const picture = useRef<HTMLDivElement>(null);
  const state = useRef({ at: 0, until: 0, last: 0, frame: 0 });
  const followed = useRef(-1);
  const playing = useSignal(false);
  const speed = useSignal(2);
  const caption = useSignal("");
  const printed = useSignal<string | null>(null);
  const looked = useSignal<Looked | null>(null);
  const all = useMemo(
    (): Pass[] => (drawn ? passes(drawn.plan, answered().ids.length, begin(), writes()) : []),
    [drawn, now],
  );
  const ends = all.length ? end(all) : 0;
  const rolled = drawn?.plan.towers[0].side === "inside";

  const draw = () => {
    if (!scene || !canvas.current || !all.length) return;
    const at = moment(scene.plan, all, state.current.at);
    const { stack, position } = looked.value ?? { stack: "encoder" as const, position: null };
    scene.label = number("t", answered().ids.length);
    scene.looked = position === null ? null : { stack, position };
    paint(canvas.current.getContext("2d")!, scene, at, all);
    if (slider.current) slider.current.value = String(state.current.at);
    // Where the picture is higher than its room, the light stays in the middle; but one may look elsewhere meanwhile.
    if (followed.current !== state.current.at) box.current!.scrollTop = at.y - box.current!.clientHeight / 2;
    followed.current = state.current.at;
    // A browser prints what was drawn on a canvas while it prepares for it in another size, and not transparently.
    printed.value = paper.value ? canvas.current.toDataURL() : null;
    const words = narration(scene, at);
    if (words !== caption.value) caption.value = words;
  };
  const scene = useScene(drawn, box, () => draw());

  const settle = () => {
    const t = all.length && writes() ? moment(drawn!.plan, all, state.current.at).pass.t : null;
    if (t !== null && t !== number("t", answered().ids.length)) select({ t });
  };
  const stop = () => {
    playing.value = false;
    cancelAnimationFrame(state.current.frame);
    settle();
  };
  const tick = (time: number) => {
    const now = state.current;
    now.at = Math.min(now.until, now.at + Math.min(0.1, (time - now.last) / 1000) * SPEEDS[speed.value]);
    now.last = time;
    draw();
    if (now.at >= now.until) stop();
    else now.frame = requestAnimationFrame(onward);
  };
  // The picture may be laid out anew while it runs (the projector, the window, the language).
  const latest = useRef(tick);
  latest.current = tick;
  const onward = (time: number) => latest.current(time);
  const run = (from: number, until: number) => {
    cancelAnimationFrame(state.current.frame);
    Object.assign(state.current, { at: from, until, last: performance.now() });
    playing.value = true;
    state.current.frame = requestAnimationFrame(onward);
  };
  const play = () => (playing.value ? stop() : run(state.current.at >= ends - 0.01 ? 0 : state.current.at, ends));
  const seek = (at: number) => {
    cancelAnimationFrame(state.current.frame);
    playing.value = false;
    state.current.at = Math.max(0, Math.min(ends, at));
    draw();
    settle();
  };
  /** To the next stop, or to the one before. */
  const step = (by: number) => {
    const places = stops(drawn!.plan, all),
      { at } = state.current;
    const next = by > 0 ? places.find((each) => each > at + 0.002) : places.filter((each) => each < at - 0.002).pop();
    if (by > 0 && next !== undefined && !calm.matches) run(at, next);
    else seek(next ?? (by > 0 ? ends : 0));
  };

  // A new answer is played; the page as it was left, or a link to a step, stands still.
  const fresh = useRef<unknown>(null);
  useLayoutEffect(() => {
    if (!scene) return;
    canvas.current!.width = scene.plan.width * scene.ratio;
    canvas.current!.height = scene.plan.height * scene.ratio;
    if (fresh.current === now) {
      draw();
      return;
    }
    fresh.current = now;
    const t = number("t", answered().ids.length);
    state.current.at = writes() ? (t || calm.matches ? endOf(all, t || answered().ids.length - 1) : 0) : ends;
    if (!t && !calm.matches) run(0, ends);
    else {
      playing.value = false;
      draw();
    }
  }, [scene]);
  useEffect(draw, [looked.value]);
  useEffect(() => {
    return () => cancelAnimationFrame(state.current.frame);
  }, []);
  const chosen = number("t", answered().ids.length);
  useEffect(() => {
    if (scene && !writes()) draw();
    else if (
      scene &&
      !playing.value &&
      all.length &&
      moment(scene.plan, all, state.current.at).pass.t !== chosen &&
      fresh.current === now
    )
      seek(endOf(all, chosen));
  }, [chosen]);

  const open = (row: Row, stack: Stack) => {
    settle();
    select(viewOf(row, stack));
  };
  const steps = answered().ids.length;
  const place = looked.value;
  const { heads, without } = model.value!.config;
  const separator = lang === "zh" ? "、" : ", ";
  const csv = () =>
    csvOf([
      [say(writes() ? "step" : "position"), say("token"), "p", say("is_chosen")],
      ...scene!.top.flatMap((step, t) =>
        step.map(({ text, p }, k) => [ordinal(t), text, p, k === scene!.chosen[t] ? 1 : 0]),
      ),
    ]);
  const info = place?.row
    ? described(place.row, place.stack)
    : place?.position != null
      ? `${ordinal(place.position)} · ${isolate(labels(tokensOf(place.stack))[place.position])}`
      : "";
  return (
    <figure
      class="whole"
      onKeyDown={(event) => {
        if (
          event.target instanceof HTMLInputElement ||
          event.target instanceof HTMLSelectElement ||
          event.target instanceof HTMLButtonElement
        )
          return;
        if (event.key === " ") {
          event.preventDefault();
          event.stopPropagation();
          play();
        }
      }}
    >
      <div class="transport" role="group" aria-label={say("steps")}>
        <button type="button" class="main" data-play onClick={play}>
          {playing.value ? `❚❚ ${say("pause")}` : `▶ ${say("play")}`}
        </button>
        <button type="button" aria-label={say("whole_before")} title={say("whole_before")} onClick={() => step(-1)}>
          ‹
        </button>
        <button type="button" aria-label={say("whole_next")} title={say("whole_next")} onClick={() => step(1)}>
          ›
        </button>
        {writes() && (
          <button
            type="button"
            aria-label={say("whole_next_token")}
            title={say("whole_next_token")}
            onClick={() => {
              const { t } = moment(drawn!.plan, all, state.current.at).pass;
              seek(endOf(all, Math.min(steps - 1, t === null ? 0 : t + 1)));
            }}
          >
            »
          </button>
        )}
        <input
          ref={slider}
          type="range"
          min={0}
          max={ends}
          step={0.01}
          aria-label={say("whole_time")}
          aria-valuetext={caption.value}
          onInput={(event) => seek(Number(event.currentTarget.value))}
        />
        <label>
          {say("speed")}{" "}
          <select
            value={speed.value}
            onChange={(event) => {
              speed.value = Number(event.currentTarget.value);
            }}
          >
            {SPEEDS.map((each, k) => (
              <option key={each} value={k}>
                {each} ×
              </option>
            ))}
          </select>
        </label>
      </div>
      <p class="narration" aria-live={playing.value ? "off" : "polite"}>
        {caption.value}
      </p>
      {without.length > 0 && (
        <p class="lack">{say("whole_lacks", { parts: without.map((part) => say(`lack_${part}`)).join(separator) })}</p>
      )}
      <div
        class="window"
        ref={box}
        {...(rolled && {
          style: { maxHeight: `${Math.max(size!.height, 20 * size!.em)}px` },
          tabIndex: 0,
          role: "region",
          "aria-label": say("view_whole"),
        })}
      >
        {drawn && (
          <div class="picture" ref={picture}>
            <Ground plan={drawn.plan} />
            <canvas
              ref={canvas}
              style={{ width: `${drawn.plan.width}px`, height: `${drawn.plan.height}px` }}
              aria-hidden="true"
            />
            {printed.value && (
              <svg class="printed" viewBox={`0 0 ${drawn.plan.width} ${drawn.plan.height}`} aria-hidden="true">
                <image href={printed.value} width={drawn.plan.width} height={drawn.plan.height} />
              </svg>
            )}
            <Signs
              plan={drawn.plan}
              looked={place}
              onLook={(next) => {
                looked.value = next;
              }}
              onOpen={open}
              onStep={(t) => seek(t < 0 ? 0 : endOf(all, Math.min(steps - 1, t)))}
            />
          </div>
        )}
      </div>
      <p class="info" data-info>
        {info && <span>{info}</span>}
      </p>
      <p class="hint">
        {say(hasCross() ? "whole_hint" : "whole_hint_one")}
        <Save name={say("view_whole")} svg={() => picture.current && together(picture.current)} csv={csv} />
      </p>
      <ul class="legend">
        <li>
          <i class="plus" /> + <i class="minus" /> − {say("whole_strips")}
        </li>
        <li>
          {Array.from({ length: Math.min(8, heads) }, (_, k) => (
            <i key={k} class={`head-${k}`} />
          ))}{" "}
          {say("whole_heads", { n: heads })}
        </li>
        <li>
          <i class="dot" /> {say("whole_light")}
        </li>
      </ul>
    </figure>
  );
}
