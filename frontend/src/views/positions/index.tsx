// How a model can know where a token stands: every kind of positions, and what is lost without them.
import { useSignal } from "@preact/signals";
import type { ComponentType } from "preact";
import { chosenAt, positionIn } from "../../attention";
import { asked, model, positionsOf, served, tokensOf, trace } from "../../data";
import { Ask, Slider } from "../../parts";
import { labels } from "../../pictures/tokens";
import { select, stacks } from "../../state";
import { isolate, say } from "../../words";
import type { Architecture } from "../../wire";
import { Alibi, Relative } from "./bias";
import type { DrawingProps } from "./drawing";
import { Learned } from "./learned";
import { Order } from "./order";
import "./positions.css";
import { Rotary } from "./rotary";
import { Sinusoidal, Tensor2Tensor } from "./sinusoid";

type Kind = Architecture["positions"];

/** How each kind of positions is drawn. */
const DRAWINGS: Record<Kind, ComponentType<DrawingProps>> = {
  sinusoidal: Sinusoidal,
  tensor2tensor: Tensor2Tensor,
  learned: Learned,
  rotary: Rotary,
  alibi: Alibi,
  relative: Relative,
  none: () => <p>{say("no_positions")}</p>,
};
const KINDS = Object.keys(DRAWINGS) as Kind[];

export function PositionsView() {
  const own = positionsOf(model.value!.config);
  const { positions_off } = trace.value!.what_if;
  const [stack] = stacks();
  const names = labels(tokensOf(stack));
  const i = positionIn(stack);
  const kind = useSignal<Kind>(own);
  const Drawing = DRAWINGS[kind.value];
  const turn = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    kind.value = KINDS[(KINDS.indexOf(kind.value) + by + KINDS.length) % KINDS.length];
    (event.currentTarget as HTMLElement).querySelector<HTMLElement>(`[data-kind=${kind.value}]`)?.focus();
  };
  return (
    <>
      <div class="kinds" role="tablist" aria-label={say("positions_kinds")} onKeyDown={turn}>
        {KINDS.map((each) => (
          <button
            type="button"
            key={each}
            role="tab"
            data-kind={each}
            aria-selected={each === kind.value}
            tabIndex={each === kind.value ? 0 : -1}
            onClick={() => {
              kind.value = each;
            }}
          >
            {say(`positions_${each}`)}
            {each === own && ` ★ ${say(positions_off ? "own_positions_off" : "own_positions")}`}
          </button>
        ))}
      </div>
      <div class="dials">
        {own !== "none" && (
          <Ask change={{ positions_off: !positions_off }}>{say(positions_off ? "positions_on" : "positions_off")}</Ask>
        )}
        {served && asked.value && <Order />}
      </div>
      <div role="tabpanel" aria-label={say(`positions_${kind.value}`)}>
        {kind.value !== "none" && (
          <Slider
            title={say("position")}
            value={i}
            most={names.length - 1}
            onMove={(at) => select(chosenAt(stack, at))}
            shown={`${i} · ${isolate(names[i])}`}
          />
        )}
        <Drawing names={names} i={i} own={kind.value === own && !positions_off} />
      </div>
    </>
  );
}
