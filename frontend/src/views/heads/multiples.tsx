// All heads side by side: a small picture of each, and what it attends to in a word.
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { type Attention, attentions, heads, isOff, isThere, nameOf, selected } from "../../attention";
import { tokensOf, trace } from "../../data";
import { Absent, attentionName, Choice, headName } from "../../parts";
import { viewport } from "../../pictures/canvas";
import { measure } from "../../pictures/patterns";
import { Thumbnail } from "../../pictures/thumbnail";
import { inColumns, select } from "../../state";
import { useRoots } from "../../use";
import { say, show } from "../../words";

type Order = "number" | "entropy" | "diagonal";

/** A row of heads for each attention, from the input (below) to the output. */
export function Multiples() {
  const order = useSignal<Order>("number");
  return (
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
            order.value = value;
          }}
        />
      </div>
      <table class="multiples">
        <caption>{say("all_heads")}</caption>
        <tbody>
          {attentions()
            .reverse()
            .map((each) => (
              <Row key={nameOf(each)} of={each} order={order.value} />
            ))}
        </tbody>
      </table>
    </div>
  );
}

/** The heads of one attention. */
function Row({ of, order }: { of: Attention; order: Order }) {
  const { stack, kind } = of;
  const name = nameOf(of);
  const roots = useRoots(`${name}.weights`);
  const asks = tokensOf(stack);
  const [rows, columns] = [asks.ids.length, (kind === "cross" ? trace.value!.source : asks).ids.length];
  const all = useMemo(() => {
    const size = rows * columns;
    const found = Array.from({ length: roots ? roots.length / size : 0 }, (_, head) => {
      const picture = roots!.subarray(head * size, (head + 1) * size);
      return { head, picture, ...measure(picture, rows, columns, kind === "cross") };
    });
    if (order === "entropy") found.sort((a, b) => a.entropy - b.entropy);
    if (order === "diagonal") found.sort((a, b) => b.diagonal - a.diagonal);
    return found;
  }, [roots, order, rows, columns, kind]);
  const chosen = selected();
  const side = heads() > 8 ? 56 : viewport.value.width <= 760 ? 72 : 96;
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
            aria-pressed={chosen.name === name && chosen.head === head}
            onClick={() => select({ ...of, head })}
          >
            <Thumbnail roots={picture} rows={rows} columns={columns} turned={inColumns()} side={side} />
            <small>
              {head} {say(`pattern_${pattern}`)}
            </small>
          </button>
        </td>
      ))}
    </tr>
  );
}
