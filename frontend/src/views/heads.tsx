// All heads at one glance, what each does, one of them enlarged, and what W_o makes of them.
import { signal, useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import {
  type Attention,
  attentions,
  Chooser,
  chosenAt,
  heads,
  headWidth,
  isOff,
  isThere,
  nameOf,
  selected,
  stepOf,
} from "../attention";
import { asked, model, source, tokensOf, trace, writes } from "../data";
import { attentionName, Absent, Ask, Choice, Formula, headName, Missing } from "../parts";
import { largest, viewport } from "../pictures/canvas";
import { HeadMap } from "../pictures/headmap";
import { Heatmap } from "../pictures/heatmap";
import { common, Legend } from "../pictures/legend";
import { measure } from "../pictures/patterns";
import { useWords, WordSwitch } from "../pictures/pieces";
import { Strip } from "../pictures/strip";
import { pooling, Thumbnail } from "../pictures/thumbnail";
import { labels } from "../pictures/tokens";
import { inColumns, select } from "../state";
import { useAnswer, useFloats, useMatrix, useRoots } from "../use";
import { ordinal, say, show } from "../words";
import "./heads.css";

/** A head that stays beside the others, also when other views are looked at meanwhile. */
const pinned = signal<{ name: string; head: number } | null>(null);

type Order = "number" | "entropy" | "diagonal";

/** The heads of one attention side by side. */
function Row(props: Attention & { order: Order; side: number }) {
  const { name: chosenName, head: chosen } = selected();
  const { stack, layer, kind } = props;
  const name = nameOf(props);
  const roots = useRoots(`${name}.weights`);
  const [rows, columns] = [
    tokensOf(stack).ids.length,
    (kind === "cross" ? trace.value!.source : tokensOf(stack)).ids.length,
  ];
  const all = useMemo(() => {
    const size = rows * columns;
    const found = Array.from({ length: roots ? roots.length / size : 0 }, (_, head) => {
      const picture = roots!.subarray(head * size, (head + 1) * size);
      return { head, picture, ...measure(picture, rows, columns, kind === "cross") };
    });
    if (props.order === "entropy") found.sort((a, b) => a.entropy - b.entropy);
    if (props.order === "diagonal") found.sort((a, b) => b.diagonal - a.diagonal);
    return found;
  }, [roots, props.order, rows, columns, kind]);
  return (
    <tr>
      <th scope="row" title={name}>
        {attentionName(name)}
      </th>
      {!isThere(name) && <td colSpan={heads()}>{say("no_attention")}</td>}
      {isThere(name) && !roots && (
        <td colSpan={heads()}>
          <Absent of={roots} />
        </td>
      )}
      {all.map(({ head, picture, pattern, entropy }) => (
        <td key={head}>
          <button
            type="button"
            class={isOff(name, head) ? "off" : ""}
            aria-label={`${headName(name, head)} ${say(`pattern_${pattern}`)}`}
            title={say("entropy", { nats: show(entropy) })}
            aria-pressed={chosenName === name && chosen === head}
            onClick={() => select({ stack, layer, kind, head })}
          >
            <Thumbnail roots={picture} rows={rows} columns={columns} turned={inColumns()} side={props.side} />
            <small>
              {head} {say(`pattern_${pattern}`)}
            </small>
          </button>
        </td>
      ))}
    </tr>
  );
}

/** One head, enlarged. */
function Head(props: { name: string; head: number; room: number }) {
  const { stack, asks, answers, begins, i, j } = selected();
  const size = asks.ids.length * answers.ids.length;
  const weights = useMatrix(useFloats(`${props.name}.weights`), props.head, size);
  const roots = useMatrix(useRoots(`${props.name}.weights`), props.head, size);
  const joined = useWords(asks, answers, weights, roots);
  if (!roots) return <Absent of={roots} />;
  const off = isOff(props.name, props.head);
  const [r, c] = joined.cell(i, j);
  return (
    <div class={off ? "off" : ""}>
      <Heatmap
        title={`${headName(props.name, props.head)}${off ? ` – ${say("head_off_here")}` : ""}`}
        rows={joined.rows}
        columns={joined.columns}
        numbers={joined.numbers}
        roots={joined.roots}
        turned={inColumns()}
        axes={[say("axis_query"), say("axis_key")]}
        begin={joined.cell(...begins)}
        room={props.room}
        chosen={[r, c]}
        onChoose={(row, column) => {
          const [query, key] = joined.first(row, column);
          select({ ...chosenAt(stack, query), j: key });
        }}
      />
    </div>
  );
}

/** What the heads give, side by side, and what W_o makes of it. */
function Together(props: { name: string }) {
  const { asks, i } = selected();
  const context = useFloats(`${props.name}.context`);
  const output = useFloats(`${props.name}.output`);
  const [width, whole] = [headWidth(), model.value!.config.width];
  const title = say("together", { token: labels(asks)[i] });
  if (!context || !output) return <Absent of={context && (output as null | undefined)} title={title} />;
  const given = Array.from({ length: heads() }, (_, head) => {
    const at = (head * asks.ids.length + i) * width;
    return context.subarray(at, at + width);
  });
  const most = common.value ? largest(...given) : undefined;
  return (
    <section>
      <h3>{title}</h3>
      {given.map((values, head) => (
        <p class={`vector ${isOff(props.name, head) ? "off" : ""}`} key={head}>
          <b>
            {say("head")} {head}
          </b>{" "}
          <Strip values={values} title={`${say("head")} ${head}`} most={most} />
          {isOff(props.name, head) && <small> {say("head_off_here")}</small>}
        </p>
      ))}
      <p class="vector">
        <b>· Wᵒ =</b> <Strip values={output.subarray(i * whole, (i + 1) * whole)} title="Wᵒ" />
      </p>
      <Legend most={most} grouped />
    </section>
  );
}

/** What every head does for the token of the chosen step. */
function Ablation() {
  const { target_out } = trace.value!.replay;
  const t = stepOf(target_out.ids.length);
  const effects = useAnswer(source.heads, asked.value, t);
  if (effects === null) return null; // this page cannot tell
  const title = say(writes() ? "ablation" : "ablation_label", { token: labels(target_out)[t], step: ordinal(t) });
  return effects ? <HeadMap effects={effects} title={title} /> : <Missing>{title}: …</Missing>;
}

export function Heads() {
  const order = useSignal<Order>("number");
  const { stack, kind, name, head, asks, answers } = selected();
  const { heads_off } = trace.value!.what_if;
  const off = isOff(name, head);
  const others = heads_off.filter(([at, which]) => at !== name || which !== head);
  const by = pooling(asks.ids.length, answers.ids.length);
  const narrow = viewport.value.width <= 760;
  const side = heads() > 8 ? 56 : narrow ? 72 : 96;
  // The large picture stands beside the small ones, where a click shows at once what it opens, if there is room.
  const short = narrow || Math.max(asks.ids.length, answers.ids.length) <= 24;
  const same = pinned.value && pinned.value.name.startsWith(stack) && pinned.value.name.endsWith(kind);
  const opened = (
    <div class={short ? "opened" : ""}>
      <Chooser />
      <div class="dials">
        <Ask change={{ heads_off: off ? others : [...others, [name, head]] }} disabled={!isThere(name)}>
          {say(off ? "switch_on" : "switch_off", { head: headName(name, head) })}
        </Ask>
        {isThere(name) && (
          <p>
            <button
              type="button"
              aria-pressed={pinned.value !== null}
              onClick={() => {
                pinned.value = pinned.value ? null : { name, head };
              }}
            >
              {say(pinned.value ? "unpin" : "pin")}
            </button>{" "}
            <WordSwitch of={[asks, answers]} />
          </p>
        )}
      </div>
      {isThere(name) && (
        <div class="pair">
          {same && <Head name={pinned.value!.name} head={pinned.value!.head} room={0.45} />}
          <Head name={name} head={head} room={same ? 0.45 : short && !narrow ? 0.55 : 1} />
        </div>
      )}
    </div>
  );
  return (
    <>
      {by > 1 && <Missing>{say("pooled", { by })}</Missing>}
      <div class="pair">
        <div class="scroll" tabIndex={0} role="region" aria-label={say("view_heads")}>
          <div class="chooser">
            <Choice
              title={say("order")}
              value={order.value}
              of={[
                ["number", say("by_number")],
                ["entropy", say("by_entropy")],
                ["diagonal", say("by_diagonal")],
              ]}
              onChoose={(value) => {
                order.value = value as Order;
              }}
            />
          </div>
          <table class="multiples">
            <caption>{say("all_heads")}</caption>
            <tbody>
              {attentions()
                .reverse()
                .map((each) => (
                  <Row key={Object.values(each).join(" ")} {...each} order={order.value} side={side} />
                ))}
            </tbody>
          </table>
        </div>
        {short ? opened : <Ablation />}
      </div>
      {!short && opened}
      <div class="pair">
        {isThere(name) && (
          <div>
            <Formula name={inColumns() ? "heads.columns" : "heads.rows"} />
            <Together name={name} />
          </div>
        )}
        {short && <Ablation />}
      </div>
    </>
  );
}
