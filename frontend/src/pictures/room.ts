// The room for a picture that fills its place.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { viewport } from "./canvas";

/** Pixels: the width, the height to the lower edge of the viewport, and the size of text. */
export interface Room {
  width: number;
  height: number;
  em: number;
}

/** An element and the room for it, kept up to date; `shown`: what moves it when it changes. */
export function useRoom(...shown: unknown[]) {
  const box = useRef<HTMLDivElement>(null);
  const room = useSignal<Room | null>(null);
  useLayoutEffect(() => {
    const element = box.current!;
    const measure = () => {
      const em = Number.parseFloat(getComputedStyle(element).fontSize);
      const width = element.clientWidth;
      const height = viewport.value.height - element.getBoundingClientRect().top - scrollY;
      const last = room.value;
      if (width && (last?.width !== width || last.height !== height || last.em !== em))
        room.value = { width, height, em };
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, [...shown, viewport.value]);
  return [box, room.value] as const;
}
