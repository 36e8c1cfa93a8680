// All heads, one of them enlarged, and what W_o makes of them.
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { Chooser, heads, headWidth, isThere, selected } from "../attention";
import { model, saw, trace } from "../data";
import { Absent, Ask, Choice, Formula, headName, Missing } from "../parts";
import { Heatmap } from "../pictures/heatmap";
import { Strip } from "../pictures/strip";
import { pooling, Thumbnail } from "../pictures/thumbnail";
import { labels } from "../pictures/tokens";
import { inColumns, select } from "../state";
import { useFloats, useMatrix, useRoots } from "../use";
import { join, say } from "../words";

export function entropy(roots: Uint8Array, rows: number, columns: number): number {
  let sum = 0;
  for (let k = 0; k < rows * columns; k++) {
    const p = (roots[k] / 255) ** 2;
    if (p > 0) sum -= p * Math.log(p);
  }
  return sum / rows;
}

function diagonal(roots: Uint8Array, rows: number, columns: number): number {
  let sum = 0;
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      if (Math.abs(i / rows - j / columns) <= 1.5 / Math.max(rows, columns)) sum += (roots[i * columns + j] / 255) ** 2;
  return sum / rows;
}

function Layer(props: { layer: number; order: string }) {
  const { stack, kind, layer, head: chosen, asks, answers } = selected();
  const name = `${stack}.${props.layer}.${kind}`;
  const roots = useRoots(`${name}.weights`);
  const [rows, columns] = [asks.ids.length, answers.ids.length];
  const heads = useMemo(() => {
    const found = Array.from({ length: roots ? roots.length / (rows * columns) : 0 }, (_, head) => ({
      head,
      picture: roots!.subarray(head * rows * columns, (head + 1) * rows * columns),
    }));
    const measure = props.order === "entropy" ? entropy : diagonal;
    if (props.order !== "number")
      found.sort(
        (a, b) =>
          (measure(a.picture, rows, columns) - measure(b.picture, rows, columns)) *
          (props.order === "entropy" ? 1 : -1),
      );
    return found;
  }, [roots, props.order, rows, columns]);
  if (!isThere(name))
    return (
      <p>
        {say("layer")} {props.layer}: {say("no_attention")}
      </p>
    );
  if (!roots) return <Absent of={roots} />;
  const off = trace.value!.what_if.heads_off;
  return (
    <div class="multiples">
      {heads.map(({ head, picture }) => (
        <button
          type="button"
          key={head}
          class={off.some(([at, which]) => at === name && which === head) ? "off" : ""}
          aria-label={`${props.layer}.${head}: ${say("layer")} ${props.layer}, ${say("head")} ${head}`}
          aria-pressed={layer === props.layer && chosen === head}
          onClick={() => select({ layer: props.layer, head })}
        >
          <Thumbnail roots={picture} rows={rows} columns={columns} turned={inColumns()} />
          <small>
            {props.layer}.{head}
          </small>
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
  return (
    <Heatmap
      title={headName(props.name, props.head)}
      rows={labels(asks)}
      columns={labels(answers)}
      numbers={weights}
      roots={roots}
      turned={inColumns()}
      begin={begins}
      chosen={[i, j]}
      onChoose={(i, j) => select({ i, j })}
    />
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
  return (
    <section>
      <h3>{title}</h3>
      {Array.from({ length: heads() }, (_, head) => {
        const at = (head * asks.ids.length + i) * width;
        return (
          <p class="vector" key={head}>
            <b>
              {say("head")} {head}
            </b>{" "}
            <Strip values={context.subarray(at, at + width)} title={`${say("head")} ${head}`} />
          </p>
        );
      })}
      <p class="vector">
        <b>· Wᵒ</b> <Strip values={output.subarray(i * whole, (i + 1) * whole)} title="Wᵒ" />
      </p>
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
      <Choice
        title={say("order")}
        value={order.value}
        of={[
          ["number", say("by_number")],
          ["entropy", say("by_entropy")],
          ["diagonal", say("by_diagonal")],
        ]}
        onChoose={(value) => {
          order.value = value;
        }}
      />
      {by > 1 && <Missing>{say("pooled", { by })}</Missing>}
      {Array.from({ length: model.value!.config[`${stack}_layers`] }, (_, layer) => (
        <Layer key={`${stack} ${kind} ${layer}`} layer={layer} order={order.value} />
      ))}
      <Ask change={{ heads_off: off ? others : [...others, [name, head]] }} disabled={!isThere(name)}>
        {say(off ? "switch_on" : "switch_off", { head: headName(name, head) })}
      </Ask>
      {heads_off.length > 0 && (
        <p class="changed">
          {join([say("without_heads"), ""])}
          <b>{now.output || say("nothing")}</b>
          {before && (
            <>
              <br />
              {join([say("before"), ""])}
              <span data-before>{before.output || say("nothing")}</span>
            </>
          )}
        </p>
      )}
      {isThere(name) && (
        <>
          <p>
            <button
              type="button"
              aria-pressed={pinned.value !== null}
              onClick={() => {
                pinned.value = pinned.value ? null : { name, head };
              }}
            >
              {say(pinned.value ? "unpin" : "pin")}
            </button>
          </p>
          <div class="pair">
            {same && <Head name={pinned.value!.name} head={pinned.value!.head} />}
            <Head name={name} head={head} />
          </div>
          <Together name={name} />
        </>
      )}
    </>
  );
}
