// All queries at once: the matrix products of one head.
import { Chooser, Formulas, isOff, isThere, NoAttention, selected } from "../../attention";
import { Missing } from "../../parts";
import { common, Legend } from "../../pictures/legend";
import { say } from "../../words";
import { useAxes } from "./axes";
import "./matrices.css";
import { largestProjected, Output, Projection, Scores, WeightedSum } from "./products";
import { Shapes } from "./shapes";
import { useTensors } from "./tensors";

export const Matrices = () => (isThere(selected().name) ? <Products /> : <NoAttention />);

function Products() {
  const { name, head, cross } = selected();
  const of = useTensors();
  const axes = useAxes(of.size);
  const off = isOff(name, head);
  return (
    <>
      <Chooser />
      <Formulas cross={cross} />
      {off && <Missing>{say("head_off_here")}</Missing>}
      <p>{say("products_hover")}</p>
      <Legend most={common.value ? largestProjected(of) : undefined} grouped />
      <div class={off ? "off" : ""}>
        <Projection of={of} axes={axes} what="q" />
        <Projection of={of} axes={axes} what="k" />
        <Projection of={of} axes={axes} what="v" />
        <Scores of={of} axes={axes} />
        <WeightedSum of={of} axes={axes} />
        <Output of={of} axes={axes} />
      </div>
      <Shapes of={of} />
    </>
  );
}
