// The products of the inputs with W^q, W^k and W^v: a query, and a key and a value for each token.
import { BAND, TALL } from "./frame";
import { InputOfQuery } from "./inputs";
import { type ColumnProps, Named, type StageProps, Vector } from "./marks";

export function KeyAndValue({ of, frame, since, at }: ColumnProps) {
  const { x, apart } = frame;
  const both = [
    { letter: of.letters.key, vectors: of.k, most: of.largest.k, x: x(at) - apart(at) },
    { letter: of.letters.value, vectors: of.v, most: of.largest.v, x: x(at) + apart(at) },
  ];
  return (
    <g class={since("products")}>
      {both.map((each) => (
        <line key={each.letter} x1={x(at)} y1={BAND.box} x2={each.x} y2={BAND.vectors + TALL + 14} />
      ))}
      {both.map((each) => (
        <Vector
          key={each.letter}
          values={each.vectors[at]}
          of={of}
          frame={frame}
          x={each.x}
          y={BAND.vectors}
          most={each.most}
          title={`${each.letter} ${of.names[at]}`}
        />
      ))}
      {frame.roomy &&
        both.map((each) => (
          <text key={each.letter} class="small" x={each.x} y={BAND.vectors + TALL + 12} text-anchor="middle">
            <Named letter={each.letter} place={at} />
          </text>
        ))}
    </g>
  );
}

export function Query(props: StageProps) {
  const { of, frame, since } = props;
  const { asks, cell } = frame;
  return (
    <g class={since("products")}>
      {of.cross ? <InputOfQuery {...props} /> : <path class="meet" d={`M${asks},${BAND.box} L${asks},${BAND.query}`} />}
      <Vector
        values={of.q}
        of={of}
        frame={frame}
        x={asks}
        y={BAND.vectors}
        most={of.largest.k}
        title={`${of.letters.query} ${of.asking}`}
      />
      {!of.cross && <rect class="ring" x={asks - cell * 0.42} y={BAND.box} width={cell * 0.84} height="30" rx="4" />}
      <text class="query" x={asks + 6} y={BAND.query + 14}>
        <Named letter={of.letters.query} place={of.i} />
      </text>
    </g>
  );
}
