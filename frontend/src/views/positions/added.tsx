// Positions that are added to the embeddings of the tokens: their matrix, and one of its rows in the sum.
import { useMemo } from "preact/hooks";
import { chosenAt } from "../../attention";
import { begin, model } from "../../data";
import { Absent, Formula } from "../../parts";
import { coordinates, Heatmap } from "../../pictures/heatmap";
import { Save, vectorsCsv } from "../../pictures/save";
import { Strip } from "../../pictures/strip";
import { inColumns, number, select, stacks } from "../../state";
import { useFloats } from "../../use";
import { say, show } from "../../words";
import type { DrawingProps } from "./drawing";

type AddedProps = DrawingProps & {
  /** A row for each token. */
  encoding: ArrayLike<number>;
};

export const Added = (props: AddedProps) => (
  <>
    <Encodings {...props} />
    <Formula name="added" />
    <Sum {...props} />
  </>
);

function Encodings(props: AddedProps) {
  const { width } = model.value!.config;
  const columns = useMemo(() => coordinates(width), [width]);
  return (
    <Heatmap
      title={say("encoding")}
      rows={props.names}
      columns={columns}
      numbers={props.encoding}
      signed
      turned={inColumns()}
      begin={[begin(), 0]}
      chosen={[props.i, number("c", width)]}
      onChoose={(row, c) => select({ ...chosenAt(stacks()[0], row), c })}
    />
  );
}

/** The embedding a of one token, its encoding e, and their sum. */
function Sum(props: AddedProps) {
  const { i, encoding, own } = props;
  const { width } = model.value!.config;
  const embeddings = useFloats(`${stacks()[0]}.embedding`);
  if (!embeddings) return <Absent of={embeddings} title="a" />;
  const a = embeddings.slice(i * width, (i + 1) * width);
  const e = Float32Array.from({ length: width }, (_, c) => encoding[i * width + c]);
  const strips = { a, e, "a + e": a.map((value, c) => value + e[c]) };
  return (
    <>
      <p>{say(own ? "added_letters" : "added_hypothetical")}</p>
      {Object.entries(strips).map(([title, values]) => (
        <p class="vector" key={title}>
          <b>
            {title}
            {title !== "a + e" && <sup>i</sup>}
          </b>{" "}
          <Strip values={values} title={`${title} ${props.names[i]}`} />{" "}
          <small>{say("vector_length", { length: show(Math.hypot(...values), 2) })}</small>
        </p>
      ))}
      <Save name={`a + e ${props.names[i]}`} svg={null} csv={() => vectorsCsv(Object.entries(strips))} />
    </>
  );
}
