// Learned positions: what they have added to the embeddings of this sentence.
import { useMemo } from "preact/hooks";
import { Absent, Missing } from "../../parts";
import { stacks } from "../../state";
import { useFloats } from "../../use";
import { say } from "../../words";
import { Added } from "./added";
import type { DrawingProps } from "./drawing";

export function Learned(props: DrawingProps) {
  const [stack] = stacks();
  const before = useFloats(`${stack}.embedding`);
  const after = useFloats(`${stack}.input`);
  const encoding = useMemo(() => before && after && after.map((value, k) => value - before[k]), [before, after]);
  if (!props.own) return <Missing>{say("learned_elsewhere")}</Missing>;
  if (!encoding) return <Absent of={encoding} title="e" />;
  return (
    <>
      <p>{say("learned_positions")}</p>
      <Added {...props} encoding={encoding} />
    </>
  );
}
