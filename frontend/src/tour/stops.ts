// The stops of the tour, in the order of the lecture.
import { model, writes } from "../data";
import { hasCross, stacks } from "../state";
import { say, type Word } from "../words";
import type { Content } from "./content";
import { atBeside } from "./stops/beside";
import { atBlock } from "./stops/block";
import { atCross } from "./stops/cross";
import { atHeads } from "./stops/heads";
import { atLoss } from "./stops/loss";
import { atMask } from "./stops/mask";
import { atMatrices } from "./stops/matrices";
import { atPositions } from "./stops/positions";
import { atQuery } from "./stops/query";
import { atLabels, atStep } from "./stops/step";
import { atWhole } from "./stops/whole";

export interface Stop {
  view: string;
  title: Word;
  content: () => Promise<Content>;
}

/** The stops that this model has. */
export function stops(): Stop[] {
  const { config } = model.value!;
  const attention = config[`${stacks()[0]}_mixer`] === "attention";
  const all: (Stop | false)[] = [
    { view: "whole", title: "view_whole", content: atWhole },
    attention && { view: "query", title: "view_query", content: atQuery },
    attention && { view: "matrices", title: "view_matrices", content: atMatrices },
    attention && { view: "heads", title: "view_heads", content: atHeads },
    { view: "positions", title: "view_positions", content: atPositions },
    { view: "beside", title: "view_beside", content: atBeside },
    { view: "block", title: "view_block", content: atBlock },
    writes()
      ? { view: "step", title: "view_step", content: atStep }
      : { view: "labels", title: "view_labels", content: atLabels },
    writes() && config.decoder_mixer === "attention" && { view: "mask", title: "view_mask", content: atMask },
    hasCross() && { view: "cross", title: "view_cross", content: atCross },
    { view: "loss", title: "view_loss", content: atLoss },
  ];
  return all.filter((each) => each !== false);
}

export const titleOf = (stop: Stop) => say(stop.title, { stack: say(stacks()[0]) });
