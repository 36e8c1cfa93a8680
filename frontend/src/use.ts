import { useEffect, useMemo, useState } from "preact/hooks";
import { floats, roots, trace } from "./data";

function useTensor<T>(name: string | null, read: (name: string) => Promise<T | null>): T | null | undefined {
  const [found, setFound] = useState<{ name: string | null; of: unknown; value: T | null } | null>(null);
  const now = trace.value;
  useEffect(() => {
    let current = true;
    if (name)
      read(name).then((value) => {
        if (current) setFound({ name, of: now, value });
      });
    return () => {
      current = false;
    };
  }, [name, now]);
  return found && found.name === name && found.of === now ? found.value : undefined;
}

/** Undefined while it is on its way, null where there is none. */
export const useFloats = (name: string | null) => useTensor(name, floats);
export const useRoots = (name: string | null) => useTensor(name, roots);

interface Sliced<T> {
  subarray(from: number, to: number): T;
}

/** One matrix of several; the same object as long as it is the same one, so that no picture is drawn twice. */
export function useMatrix<T extends Sliced<T>>(
  all: T | null | undefined,
  matrix: number,
  size: number,
): T | null | undefined {
  return useMemo(() => all && all.subarray(matrix * size, (matrix + 1) * size), [all, matrix, size]);
}
