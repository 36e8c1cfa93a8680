// The tree of the search as a drawing: one step a column.
import type { RefObject } from "preact";
import { projector } from "../../keys";
import type { Candidate } from "../../wire";
import { isolate, say } from "../../words";
import { nameOf, type Tree } from "./tree";

/** `path`: to the node that is looked at. Arrows go from node to node, Enter opens one. */
export function Picture(props: {
  tree: Tree;
  path: Candidate[];
  drawing: RefObject<SVGSVGElement | null>;
  onPoint: (number: number) => void;
  onClick: (number: number) => void;
  onMove: (number: number) => void;
  onOpen: () => void;
}) {
  const { nodes, links, column, width, height } = props.tree;
  const scale = projector.value ? 24 / 13 : 1; // letters are 13 pixels high
  const lit = new Set(props.path.map((each) => each.number));
  const picked = props.path.at(-1);
  const press = (event: KeyboardEvent) => {
    if (event.key === "Enter") props.onOpen();
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    const here = nodes.find((node) => node.data.candidate?.number === picked?.number) ?? nodes[0];
    const level = nodes.filter((node) => node.depth === here.depth).sort((a, b) => a.x - b.x);
    const to = {
      ArrowLeft: here.parent,
      ArrowRight: here.children?.[0],
      ArrowUp: level[level.indexOf(here) - 1],
      ArrowDown: level[level.indexOf(here) + 1],
    }[event.key];
    if (to?.data.candidate) props.onMove(to.data.candidate.number);
  };
  return (
    <div
      class="scroll forest"
      role="img"
      tabIndex={0}
      onKeyDown={press}
      aria-label={`${say("view_beam")}. ${picked ? `${isolate(nameOf(picked))}, ${say(picked.fate)}` : say("hover_tree")}`}
    >
      <svg
        ref={props.drawing}
        class="tree"
        width={scale * width}
        height={scale * height}
        viewBox={`0 0 ${width} ${height}`}
      >
        <g transform={"translate(24,20)"}>
          {links.map(({ source, target }, k) => (
            <path
              key={k}
              class={lit.has(target.data.candidate!.number) ? "lit" : ""}
              d={`M${source.y + 4},${source.x}C${source.y + column / 2},${source.x} ${target.y - column / 2},${target.x} ${target.y - 4},${target.x}`}
            />
          ))}
          {nodes.map(({ x, y, data: { candidate } }) => {
            if (!candidate) return null;
            const { number, fate } = candidate;
            return (
              <g
                key={number}
                transform={`translate(${y},${x})`}
                class={`node ${fate} ${lit.has(number) ? "on" : ""}`}
                onPointerEnter={(event) => event.pointerType === "mouse" && props.onPoint(number)}
                onClick={() => props.onClick(number)}
              >
                <circle r="4" />
                <text x="7" y="4">
                  {isolate(nameOf(candidate))}
                </text>
              </g>
            );
          })}
        </g>
      </svg>
    </div>
  );
}

/** What the colours of nodes mean. */
export const Fates = () => (
  <>
    {(["kept", "finished", "pruned"] as const).map((fate) => (
      <span key={fate}>
        <svg width="12" height="12" class={`tree ${fate}`} aria-hidden="true">
          <g class={fate}>
            <circle cx="6" cy="6" r="4" />
          </g>
        </svg>{" "}
        {say(fate)}
      </span>
    ))}
  </>
);
