import { useEffect, useState } from "preact/hooks";
import { floats, roots, trace } from "./data";

function useTensor<T>(name: string | null, read: (name: string) => Promise<T | null>): T | null | undefined {
  const [found, setFound] = useState<{ name: string | null; of: unknown; value: T | null } | null>(null);
  const now = trace.value;
  useEffect(() => {
    let current = true;
    if (name) read(name).then((value) => { if (current) setFound({ name, of: now, value }); });
    return () => { current = false; };
  }, [name, now]);
  return found && found.name === name && found.of === now ? found.value : undefined;
}

/** Undefined while it is on its way, null where it is not to be had. */
export const useFloats = (name: string | null) => useTensor(name, floats);
export const useRoots = (name: string | null) => useTensor(name, roots);
