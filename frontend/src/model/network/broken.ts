// What each part of a Transformer is for, seen by taking it away (`model.without`); the other files know nothing of this.
// Parts of the training (begin, end, shift, warmup) change nothing about a network.
import { CrossAttention, SelfAttention } from "./attention";
import { identity } from "./norms";
import type { Network } from "./shapes";
import type { Stack } from "./stack";

type Part = Network["config"]["without"][number];

const stacks = (network: Network): Stack[] => Object.values(network.stacks);
const blocks = (network: Network) => stacks(network).flatMap((stack) => stack.blocks);
const mixers = (network: Network) => blocks(network).map((block) => block.mixer);
const residuals = (network: Network) => blocks(network).flatMap((block) => Object.values(block.residuals));
const selfAttentions = (network: Network) => mixers(network).filter((mixer) => mixer instanceof SelfAttention);
const crossAttentions = (network: Network) =>
  blocks(network)
    .map((block) => block.cross)
    .filter((cross) => cross instanceof CrossAttention);

export function withoutPositions(network: Network): void {
  for (const stack of stacks(network)) stack.positions = {};
}

const TAKE_AWAY: Partial<Record<Part, (network: Network) => void>> = {
  mask: (network) => {
    for (const mixer of selfAttentions(network)) mixer.causal = false;
  },
  positions: withoutPositions,
  residual: (network) => {
    for (const residual of residuals(network)) residual.adds = false;
  },
  norm: (network) => {
    for (const owner of [...residuals(network), ...stacks(network)]) owner.norm = identity;
    for (const stack of stacks(network)) stack.embeddingNorm = identity;
  },
  scaling: (network) => {
    for (const each of [...selfAttentions(network), ...crossAttentions(network)])
      each.query.factor = Math.sqrt(network.config.head_width);
  },
  cross: (network) => {
    for (const each of crossAttentions(network)) each.key.factor = each.value.factor = 0;
  },
};

/** Take away from a built network what its `config.without` names, if anything. */
export function breakNetwork(network: Network): void {
  for (const part of network.config.without) TAKE_AWAY[part]?.(network);
}
