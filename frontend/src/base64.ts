// Bytes that stand in a file as text.

/** What new browsers have: it is five times as fast. */
const native = Uint8Array as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> };

export function bytes(base64: string): ArrayBuffer {
  if (native.fromBase64) return native.fromBase64(base64).buffer;
  const text = atob(base64);
  const found = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) found[k] = text.charCodeAt(k);
  return found.buffer;
}
