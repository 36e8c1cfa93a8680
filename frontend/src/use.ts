// Hooks for what arrives later: tensors of the trace, and answers of the model.
import { useEffect, useMemo, useState } from "preact/hooks";
import { floats, type Question, roots, trace } from "./data";

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

/** Undefined while they are on their way, null where there are none. */
export type MaybeFloats = Float32Array | null | undefined;

export const useFloats = (name: string | null) => useTensor(name, floats);
export const useRoots = (name: string | null) => useTensor(name, roots);

function useSeveral<T>(names: string[], read: (name: string) => Promise<T | null>): (T | null)[] | undefined {
  const key = names.join();
  const [found, setFound] = useState<{ key: string; of: unknown; all: (T | null)[] } | null>(null);
  const now = trace.value;
  useEffect(() => {
    let current = true;
    Promise.all(names.map(read)).then((all) => {
      if (current) setFound({ key, of: now, all });
    });
    return () => {
      current = false;
    };
  }, [key, now]);
  return found && found.key === key && found.of === now ? found.all : undefined;
}

/** Several of them at once; undefined while one is on its way. */
export const useAll = (names: string[]) => useSeveral(names, floats);
export const useAllRoots = (names: string[]) => useSeveral(names, roots);

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

/** What the model says of a position, when it is asked for more than a trace; null where it cannot be asked. */
export function useAnswer<T>(
  ask: (request: Question, position: number, reference: boolean) => Promise<T>,
  request: Question | null,
  position: number,
  reference = false,
): T | null | undefined {
  const key = JSON.stringify([request, position, reference]);
  const [found, setFound] = useState<{ key: string; value: T | null } | null>(null);
  useEffect(() => {
    let current = true;
    const found = (value: T | null) => current && setFound({ key, value });
    if (request) ask(request, position, reference).then(found, () => found(null));
    return () => {
      current = false;
    };
  }, [key]);
  if (!request) return null;
  return found?.key === key ? found.value : undefined;
}
