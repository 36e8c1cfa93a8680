// All queries at once: the shapes of the products, and how many parameters they have.
import { headWidth } from "../../attention";
import { model, tokensOf, trace } from "../../data";
import { stacks } from "../../state";
import { grouped } from "../../words";
import { type Content, content } from "../content";

export async function atMatrices(): Promise<Content> {
  const [stack] = stacks();
  const n = tokensOf(stack).ids.length,
    { shapes } = trace.value!;
  const learned = Object.entries(shapes).filter(([name]) =>
    new RegExp(`^parameters\\.${stack}\\.blocks\\.0\\.mixer\\.(query|key|value|output)\\.weight$`).test(name),
  );
  const count = learned.reduce((sum, [, [rows, columns]]) => sum + rows * columns, 0);
  const [rows, columns] = learned[0]?.[1] ?? [0, 0];
  return content(
    { stack, layer: 0, kind: "self" },
    ["tour_matrices_1", { n, rows, columns, d: headWidth() }],
    ["tour_matrices_2", { n, square: grouped(n * n) }],
    ["tour_matrices_3", { count: grouped(count), of: grouped(model.value!.parameters) }],
  );
}
