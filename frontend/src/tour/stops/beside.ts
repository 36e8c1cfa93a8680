// Self-attention beside a convolution and a recurrence: how far they see, and what they cost.
import { model } from "../../data";
import { WORDS } from "../../views/beside";
import { grouped } from "../../words";
import { type Content, content } from "../content";

export async function atBeside(): Promise<Content> {
  const n = WORDS,
    { width } = model.value!.config;
  return content(
    {},
    ["tour_beside_1", { n }],
    ["tour_beside_2", { n, layers: n - 1 }],
    ["tour_beside_3", { n, d: width, attention: grouped(n * n * width), recurrence: grouped(n * width * width) }],
  );
}
