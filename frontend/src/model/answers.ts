// What a model in the page is asked, and what it answers; the worker and, where there is none, the page itself run this.
import { bytes } from "../base64";
import type { Embedded, Template, HeadEffect, Request, Trace } from "../wire";
import { heads, occlusion } from "./effects";
import { look, type Look } from "./look";
import { refusal } from "../refusal";
import { Tokenizer } from "./text/tokenizer";
import { Translator } from "./translator";

/** Traces whose tensors can still be asked for, the latest ones. */
const MAX_LOOKS = 8;

export class Answers {
  private readonly translators = new Map<string, Translator>();
  private readonly looks = new Map<string, Look & { translator: Translator }>();
  private count = 0;

  /**
   * @param checkpoint of the training whose weights these are; empty for the model itself.
   * @param weights their bytes, or these in base64.
   */
  load(checkpoint: string, embedded: Embedded, weights: ArrayBuffer | string): void {
    this.translators.set(checkpoint, new Translator(embedded, typeof weights === "string" ? bytes(weights) : weights));
  }

  look(request: Request): Trace {
    const translator = this.translator(request);
    const found = look(translator, request);
    const id = String(++this.count);
    this.looks.set(id, { ...found, translator });
    const [oldest] = this.looks.keys();
    if (this.looks.size > MAX_LOOKS) this.looks.delete(oldest);
    return { ...found.trace, id };
  }

  /** The same, without keeping any tensor. */
  peek(request: Request): Trace {
    return look(this.translator(request), request).trace;
  }

  /** The numbers of a tensor of a trace; null where there is none. */
  floats(id: string, name: string): Float32Array | null {
    const found = this.looks.get(id);
    const [, learned] = /^parameters\.(.*)/.exec(name) ?? [];
    const tensor = learned ? found?.translator.weights.find(learned) : found?.values.get(name);
    return tensor ? tensor.data.slice() : null;
  }

  heads(request: Request, position: number, reference: boolean): HeadEffect[] {
    return heads(this.translator(request), request, { position, reference });
  }

  occlusion(request: Request, position: number, reference: boolean): number[] {
    return occlusion(this.translator(request), request, { position, reference });
  }

  /** What a tokenizer makes of lines and of ids, for the test that compares it with Python's. */
  tokenise({ json, template, lines, ids }: { json: string; template: Template; lines: string[]; ids: number[][] }) {
    const tokenizer = new Tokenizer(json, template);
    return {
      normalised: lines.map(tokenizer.normalise),
      encoded: lines.map((line) => tokenizer.encode(line)),
      decoded: ids.map((each) => tokenizer.decode(each)),
      pieces: ids.map((each) => tokenizer.pieces(each)),
    };
  }

  private translator({ checkpoint }: Request): Translator {
    const found = this.translators.get(checkpoint ?? "");
    if (!found) throw refusal("checkpoint", {}, `${checkpoint} is not here`);
    return found;
  }
}
