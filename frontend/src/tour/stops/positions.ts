// Positions: what the model's own kind of them does to this sentence.
import { headWidth } from "../../attention";
import { floats, model, positionsOf, tokensOf } from "../../data";
import { slope, wavelength } from "../../model/network/positions";
import { indices } from "../../numbers";
import { labels } from "../../pictures/tokens";
import { stacks } from "../../state";
import type { Architecture } from "../../wire";
import { quoted, say, show, type Word } from "../../words";
import { type Content, content, type Values } from "../content";

export async function atPositions(): Promise<Content> {
  const kind = positionsOf(model.value!.config);
  const tokens = tokensOf(stacks()[0]);
  const n = tokens.ids.length;
  const values = {
    n,
    how: say(`positions_${kind}`),
    token: quoted(labels(tokens)[0]),
    ...(await measured(kind, n)),
  };
  return content({ i: n - 1, j: 0 }, ["tour_positions_1", values], [said(kind), values], ["tour_positions_3", values]);
}

type Kind = Architecture["positions"];

function said(kind: Kind): Word {
  if (kind === "rotary" || kind === "alibi" || kind === "relative" || kind === "none") return `tour_positions_${kind}`;
  return model.value!.config.embedding_norm ? "tour_positions_normed" : "tour_positions_added";
}

/** The numbers of the sentence about a kind of positions; `n`: how many tokens there are. */
async function measured(kind: Kind, n: number): Promise<Values> {
  const { heads, width, embedding_norm } = model.value!.config;
  const [stack] = stacks();
  switch (kind) {
    case "rotary":
      return { slow: show((n - 1) / wavelength(headWidth() / 2 - 1, headWidth()), 3) };
    case "alibi":
      return {
        first: show(slope(0, heads), 3),
        last: show(slope(heads - 1, heads), 4),
        far: show((n - 1) * slope(0, heads), 1),
      };
    case "relative": {
      const bias = await floats(`${stack}.0.self.bias`);
      const shown = (at: number) => (bias ? show(bias[at], 2) : "…");
      return { first: shown(0), far: shown((n - 1) * n) };
    }
    case "none":
      return {};
    default: {
      const [before, after] = [await floats(`${stack}.embedding`), await floats(`${stack}.input`)];
      if (!before || !after) return { a: "…", e: "…" };
      const length = (of: (c: number) => number) => show(Math.hypot(...indices(width).map(of)), 1);
      return { a: length((c) => before[c]), e: length((c) => after[c] - (embedding_norm ? 0 : before[c])) };
    }
  }
}
