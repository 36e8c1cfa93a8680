// The views, and which of them a model has.
import { model, trace } from "../data";
import type { Architecture } from "../wire";
import { isWord, type Word } from "../words";
import { Beside } from "./beside";
import { Beam } from "./beam";
import { Block } from "./block";
import { Cross } from "./cross";
import { Heads } from "./heads";
import { Input } from "./input";
import { Labels } from "./labels";
import { Loss } from "./loss";
import { Mask } from "./mask";
import { Matrices } from "./matrices";
import { PositionsView } from "./positions";
import { OneQuery } from "./query";
import { StepView } from "./step";
import { Training } from "./training";
import { Whole } from "./whole";

export const VIEWS = {
  whole: Whole,
  input: Input,
  query: OneQuery,
  matrices: Matrices,
  heads: Heads,
  positions: PositionsView,
  block: Block,
  step: StepView,
  labels: Labels,
  mask: Mask,
  cross: Cross,
  loss: Loss,
  beam: Beam,
  training: Training,
  beside: Beside,
} as const;
export type View = keyof typeof VIEWS;
/** The views of what a shape has not. */
const LACKING: Record<Architecture["shape"], readonly View[]> = {
  "encoder-decoder": ["labels"],
  decoder: ["labels", "cross"],
  encoder: ["step", "mask", "cross", "beam"],
};
export const views = () =>
  (Object.keys(VIEWS) as View[]).filter((name) => !LACKING[model.value!.config.shape].includes(name));

/** The words that explain a view: in this shape, with what is changed, and with what there is to show. */
export const explained = (view: View) => {
  const lifted = trace.value?.what_if.mask_lifted ? [`explain_${view}_lifted`] : [];
  const own = trace.value?.reference === null ? [`explain_${view}_own`] : [];
  const { config, decoding } = model.value!;
  return [
    ...lifted,
    `explain_${view}_${config.shape}`,
    ...own,
    `explain_${view}_${decoding.stop}`,
    `explain_${view}`,
  ].find(isWord) as Word;
};
