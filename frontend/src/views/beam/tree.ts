// The tree of the search, and where its nodes lie.
import { hierarchy, type HierarchyPointNode } from "d3-hierarchy";
import { widest } from "../../pictures/canvas";
import { tokenName } from "../../pictures/tokens";
import type { Candidate } from "../../wire";

/** The last token of a prefix, null for the empty one, and its continuations. */
interface Prefix {
  candidate: Candidate | null;
  children: Prefix[];
}

export interface Tree {
  nodes: HierarchyPointNode<Prefix>[];
  links: { source: HierarchyPointNode<Prefix>; target: HierarchyPointNode<Prefix> }[];
  /** Pixels from one step to the next. */
  column: number;
  width: number;
  height: number;
}

const LINE = 19;

export const nameOf = ({ token, piece }: Candidate) => tokenName(token, piece);

/** The candidates from the first step to this one. */
export function pathTo(last: Candidate | undefined, byNumber: Map<number, Candidate>): Candidate[] {
  const path: Candidate[] = [];
  for (let at = last; at; at = byNumber.get(at.parent ?? -1)) path.unshift(at);
  return path;
}

export function treeOf(candidates: Candidate[], withPruned: boolean): Tree {
  const empty: Prefix = { candidate: null, children: [] };
  const prefixes = new Map<number | null, Prefix>([[null, empty]]);
  for (const candidate of candidates) {
    if (candidate.fate === "pruned" && !withPruned) continue;
    const prefix = { candidate, children: [] };
    prefixes.get(candidate.parent)?.children.push(prefix);
    prefixes.set(candidate.number, prefix);
  }
  const column = Math.max(60, widest(candidates.map(nameOf)) + 36);
  const root = hierarchy(empty) as HierarchyPointNode<Prefix>;
  root.each((node) => {
    node.y = node.depth * column;
  });
  lay(root, []);
  const nodes = root.descendants();
  return {
    nodes,
    links: root.links(),
    column,
    width: (root.height + 1) * column + 24,
    height: Math.max(...nodes.map((node) => node.x)) + 40,
  };
}

/** A prefix and its best continuations lie on one line, the next that is `free` in each of their columns; the others below. */
function lay(first: HierarchyPointNode<Prefix>, free: number[]): void {
  const path = [first];
  for (let next = first.children?.[0]; next; next = next.children?.[0]) path.push(next);
  const line = Math.max(...path.map((node) => free[node.depth] ?? 0));
  for (const node of path) {
    node.x = LINE * line;
    free[node.depth] = line + 1;
  }
  for (const node of path.reverse()) for (const other of node.children?.slice(1) ?? []) lay(other, free);
}
