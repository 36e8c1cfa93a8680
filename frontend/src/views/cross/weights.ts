// The weights of cross-attention: of one head, of all heads of a layer together, and of the head that aligns best.
import { useMemo } from "preact/hooks";
import { heads } from "../../attention";
import { model } from "../../data";
import { indices, mean } from "../../numbers";
import { measure } from "../../pictures/patterns";
import { useAllRoots, useFloats, useRoots } from "../../use";

/** One head (the one that aligns best, or the one that is selected), or how all heads of a layer are put together. */
export type How = "best" | "head" | "mean" | "max";

/** `size`: how many weights a head has. */
export function useCross(layer: number, head: number, how: How, size: number) {
  const weights = useFloats(`decoder.${layer}.cross.weights`);
  const roots = useRoots(`decoder.${layer}.cross.weights`);
  return useMemo(() => {
    const joined = (share: (k: number) => number) =>
      Float32Array.from({ length: size }, (_, k) => {
        const shares = () => indices(heads()).map((each) => share(each * size + k));
        if (how === "mean") return mean(shares());
        if (how === "max") return Math.max(...shares());
        return share(head * size + k);
      });
    const numbers = weights && joined((k) => weights[k]);
    // Of bytes only a picture is made, and never a number.
    const shares = numbers ?? (roots && joined((k) => (roots[k] / 255) ** 2));
    return { numbers, roots: shares && Uint8Array.from(shares, (p) => Math.round(255 * Math.sqrt(p))) };
  }, [weights, roots, how, head, size]);
}

interface Head {
  layer: number;
  head: number;
}

/** The head of all cross-attentions whose weights are sharpest and least alike: where an alignment is best seen. */
export function useBest(rows: number, columns: number): Head | null {
  const layers = indices(model.value!.config.decoder_layers);
  const all = useAllRoots(layers.map((layer) => `decoder.${layer}.cross.weights`));
  return useMemo(() => {
    let best: (Head & { score: number }) | null = null;
    for (const [layer, roots] of all?.entries() ?? [])
      for (let head = 0; roots && head < heads(); head++) {
        const weights = roots.subarray(head * rows * columns, (head + 1) * rows * columns);
        const { sharpness, answering } = measure(weights, rows, columns, true);
        const score = sharpness * answering;
        if (!best || score > best.score) best = { layer, head, score };
      }
    return best;
  }, [all, rows, columns]);
}
