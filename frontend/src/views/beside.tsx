// Self-attention beside a convolution and a recurrence: what a position sees, in how many steps, and when. No model is needed.
import { useSignal } from "@preact/signals";
import { model } from "../data";
import { Slider } from "../parts";
import { grouped, say } from "../words";
import "./beside.css";

/** Of the sentence that is drawn. */
export const WORDS = 9;
const MOST_LAYERS = 4;
const KINDS = ["attention", "convolution", "recurrence"] as const;
type Kind = (typeof KINDS)[number];
/** A word at the output of a layer; layer 0 is the input. */
type Node = [layer: number, word: number];

/** What a node is computed from, the nearest first. */
function sources(kind: Kind, [layer, word]: Node, kernel: number): Node[] {
  if (layer === 0) return [];
  const all = Array.from({ length: WORDS }, (_, k): Node => [layer - 1, k]);
  switch (kind) {
    case "attention":
      return all;
    case "convolution":
      return all.filter(([, k]) => Math.abs(k - word) <= (kernel - 1) / 2);
    case "recurrence":
      return [[layer - 1, word], ...(word > 0 ? [[layer, word - 1] as Node] : [])];
  }
}

const key = ([layer, word]: Node) => layer * WORDS + word;

/** Everything that a node depends on, and how many steps away it is: a breadth-first search. */
function seen(kind: Kind, from: Node, kernel: number): Map<number, { steps: number; next: Node | null }> {
  const found = new Map([[key(from), { steps: 0, next: null as Node | null }]]);
  const waiting = [from];
  for (let node = waiting.shift(); node; node = waiting.shift())
    for (const source of sources(kind, node, kernel))
      if (!found.has(key(source))) {
        found.set(key(source), { steps: found.get(key(node))!.steps + 1, next: node });
        waiting.push(source);
      }
  return found;
}

/** The earliest moment at which a node can be computed, if everything that can be is computed at once. */
const moment = (kind: Kind, [layer, word]: Node) => (layer === 0 ? 0 : kind === "recurrence" ? layer + word : layer);

/** The layers that a word needs to reach another, and the steps on its way. */
function reach(kind: Kind, kernel: number): { layers: number; steps: number } {
  const far = WORDS - 1;
  const windows = Math.ceil(far / ((kernel - 1) / 2));
  return {
    attention: { layers: 1, steps: 1 },
    convolution: { layers: windows, steps: windows },
    recurrence: { layers: 1, steps: far + 1 },
  }[kind];
}

const [ACROSS, UP, RADIUS] = [46, 74, 15];

function Net(props: { kind: Kind; layers: number; kernel: number; word: number; onChoose: (word: number) => void }) {
  const { kind, layers, kernel, word } = props;
  const found = seen(kind, [layers, word], kernel);
  const x = (k: number) => 30 + k * ACROSS,
    y = (layer: number) => 26 + (layers - layer) * UP;
  const nodes = Array.from({ length: (layers + 1) * WORDS }, (_, k): Node => [Math.floor(k / WORDS), k % WORDS]);
  const first = found.get(key([0, 0]));
  const path = new Set<string>();
  for (let at: Node | null = first ? [0, 0] : null; at; at = found.get(key(at))!.next) {
    const next = found.get(key(at))!.next;
    if (next) path.add(`${key(at)} ${key(next)}`);
  }
  const edges = nodes.flatMap((node) => sources(kind, node, kernel).map((source) => [source, node] as const));
  const rank = (edge: readonly [Node, Node]) =>
    path.has(`${key(edge[0])} ${key(edge[1])}`) ? 2 : found.has(key(edge[1])) ? 1 : 0;
  const visible = Array.from({ length: WORDS }, (_, k) => k).filter((k) => found.has(key([0, k]))).length;
  const { layers: needed, steps } = reach(kind, kernel);
  return (
    <figure class="net">
      <figcaption>{say(`beside_${kind}`)}</figcaption>
      <svg
        viewBox={`0 0 ${60 + (WORDS - 1) * ACROSS} ${52 + layers * UP}`}
        role="img"
        aria-label={`${say(`beside_${kind}`)}. ${say("beside_sees", { word: word + 1, layers, seen: visible, of: WORDS })}`}
      >
        {[...edges]
          .sort((a, b) => rank(a) - rank(b))
          .map((edge) => {
            const [[from, k], [to, j]] = edge;
            const flat = from === to;
            return (
              <line
                key={`${from} ${k} ${to} ${j}`}
                class={["", "lit", "path"][rank(edge)]}
                x1={x(k) + (flat ? RADIUS : 0)}
                y1={y(from) - (flat ? 0 : RADIUS)}
                x2={x(j) - (flat ? RADIUS : 0)}
                y2={y(to) + (flat ? 0 : RADIUS)}
              />
            );
          })}
        {nodes.map((node) => {
          const [layer, k] = node;
          return (
            <g
              key={key(node)}
              class={`node ${found.has(key(node)) ? "lit" : ""} ${layer === layers && k === word ? "chosen" : ""} ${layer === 0 ? "word" : ""}`}
              onClick={() => props.onChoose(k)}
            >
              <circle cx={x(k)} cy={y(layer)} r={RADIUS} />
              <text x={x(k)} y={y(layer)} text-anchor="middle" dominant-baseline="central">
                {layer === 0 ? k + 1 : moment(kind, node)}
              </text>
            </g>
          );
        })}
      </svg>
      <p>{say("beside_sees", { word: word + 1, layers, seen: visible, of: WORDS })}</p>
      <p>{say("beside_reaches", { of: WORDS, steps, layers: needed })}</p>
      <p>{say("beside_moments", { moments: moment(kind, [layers, WORDS - 1]) })}</p>
    </figure>
  );
}

const Log = () => (
  <>
    O(log<sub>k</sub> n)
  </>
);

/** Table 1 of Vaswani et al. 2017, and its first column in numbers. */
function Costs(props: { kernel: number }) {
  const d = model.value!.config.width,
    n = WORDS,
    k = props.kernel;
  const rows = [
    ["attention", "O(n² · d)", n * n * d, "O(1)", "O(1)"],
    ["recurrence", "O(n · d²)", n * d * d, "O(n)", "O(n)"],
    [
      "convolution",
      "O(k · n · d²)",
      k * n * d * d,
      "O(1)",
      <>
        O(n / k), <Log />
      </>,
    ],
  ] as const;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={say("beside_table")}>
      <table class="costs">
        <caption>{say("beside_table")}</caption>
        <thead>
          <tr>
            <td />
            <th scope="col">{say("beside_operations")}</th>
            <th scope="col">{say("beside_numbers", { n, d, k })}</th>
            <th scope="col">{say("beside_sequential")}</th>
            <th scope="col">{say("beside_path")}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([kind, operations, number, sequential, path]) => (
            <tr key={kind}>
              <th scope="row">{say(`beside_${kind}`)}</th>
              <td>{operations}</td>
              <td class="number">{grouped(number)}</td>
              <td>{sequential}</td>
              <td>{path}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Beside() {
  const layers = useSignal(2);
  const kernel = useSignal(3);
  const word = useSignal(WORDS - 1);
  return (
    <>
      <div class="dials">
        <Slider
          title={say("beside_layers")}
          value={layers.value}
          least={1}
          most={MOST_LAYERS}
          onMove={(to) => {
            layers.value = to;
          }}
        />
        <Slider
          title={say("beside_kernel")}
          value={kernel.value}
          least={3}
          most={9}
          step={2}
          onMove={(to) => {
            kernel.value = to;
          }}
        />
        <Slider
          title={say("beside_word")}
          value={word.value + 1}
          least={1}
          most={WORDS}
          onMove={(to) => {
            word.value = to - 1;
          }}
        />
      </div>
      <p>{say("beside_letters")}</p>
      <div class="nets">
        {KINDS.map((kind) => (
          <Net
            key={kind}
            kind={kind}
            layers={layers.value}
            kernel={kernel.value}
            word={word.value}
            onChoose={(to) => {
              word.value = to;
            }}
          />
        ))}
      </div>
      <Costs kernel={kernel.value} />
      <p class="explain">{say("beside_table_letters")}</p>
    </>
  );
}
