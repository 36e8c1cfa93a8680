// Where answers come from: the model in the page, the server, or what a file holds. Nothing else of the page knows which.
import { bytes } from "./base64";
import type { Call, Reply } from "./model/worker";
import { refusal, Refusal } from "./refusal";
import type { Embedded, Failure, HeadEffect, Held, Model, Numbers, Request, Stored, Trace } from "./wire";

/** In the place of a checkpoint's name: the other model that the page shows. */
export const BESIDE = "beside";

export interface Source {
  model(): Promise<Model>;
  look(request: Request): Promise<Trace>;
  /** The same for what is not shown: its tensors are not kept. */
  peek(request: Request): Promise<Trace>;
  /** The numbers of a tensor of a trace, float32; null where there are none. */
  floats(id: string, name: string): Promise<Float32Array | null>;
  /** 255·√p of a tensor of weights, for pictures only; null where there are none. */
  roots(id: string, name: string): Promise<Uint8Array | null>;
  /** The change of the loss at a position of the output, or of the reference, when each head is switched off. */
  heads(request: Request, position: number, reference: boolean): Promise<HeadEffect[]>;
  /** The same when each token of the source is hidden from attention. */
  occlusion(request: Request, position: number, reference: boolean): Promise<number[]>;
}

/** The text of a script of data that the file holds. */
const held = (id: string): string | null => document.getElementById(id)?.textContent ?? null;

/** The same for what is large, and stands after the page's own script: the browser may not have read all of it yet. */
async function heldLater(id: string): Promise<string | null> {
  const read = () => document.readyState !== "loading" || document.getElementById(id)?.nextSibling != null;
  await new Promise<void>((resolve) => {
    const check = () => {
      if (!read()) return;
      observer.disconnect();
      document.removeEventListener("readystatechange", check);
      resolve();
    };
    const observer = new MutationObserver(check);
    observer.observe(document.body, { childList: true });
    document.addEventListener("readystatechange", check);
    check();
  });
  return held(id);
}

/** A file without its model knows one answer. */
export const frozen = held("held") !== null;
/** Whether the page is a file, and needs no server. */
export const oneFile = frozen || held("embedded") !== null;

export async function open(): Promise<Source> {
  if (frozen) return new Frozen(JSON.parse(held("held")!));
  if (held("embedded")) return new InPage(IN_FILE);
  const embedded: Embedded | null = await json("api/embedded");
  return embedded ? new InPage(fromServer(embedded)) : new Server();
}

/** Of a tensor that a file holds. */
const numbers = (tensor: Numbers | undefined) => (tensor?.floats ? new Float32Array(bytes(tensor.floats)) : null);

class Frozen implements Source {
  constructor(private readonly held: Held) {}

  model = async () => this.held.model;
  look = async () => this.held.trace;
  peek = this.look;
  heads = () => Promise.reject(refusal("needs_server"));
  occlusion = () => Promise.reject(refusal("needs_server"));

  floats = async (_id: string, name: string) => numbers(this.held.tensors[name]);

  async roots(_id: string, name: string): Promise<Uint8Array | null> {
    const text = this.held.tensors[name]?.roots;
    return text == null ? null : new Uint8Array(bytes(text));
  }
}

async function json<T>(path: string, message?: object): Promise<T> {
  const answer = await fetch(
    path,
    message && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(message) },
  ).catch((problem) => {
    throw refusal("no_server", {}, String(problem));
  });
  if (!answer.ok) throw new Refusal((await answer.json()) as Failure);
  return answer.json();
}

async function buffer(path: string): Promise<ArrayBuffer> {
  const answer = await fetch(path);
  if (!answer.ok) throw refusal("checkpoint", {}, ((await answer.json()) as Failure).error);
  return answer.arrayBuffer();
}

class Server implements Source {
  model = () => json<Model>("api/model");
  look = (request: Request) => json<Trace>("api/look", request);
  peek = (request: Request) => json<Trace>("api/peek", request);

  async heads(request: Request, position: number, reference: boolean): Promise<HeadEffect[]> {
    return (await json<{ heads: HeadEffect[] }>("api/heads", { ...request, position, reference })).heads;
  }

  async occlusion(request: Request, position: number, reference: boolean): Promise<number[]> {
    return (await json<{ losses: number[] }>("api/occlusion", { ...request, position, reference })).losses;
  }

  floats = async (id: string, name: string) =>
    new Float32Array(await buffer(`api/tensor/${id}/${encodeURIComponent(name)}`));
  roots = async (id: string, name: string) =>
    new Uint8Array(await buffer(`api/tensor/${id}/${encodeURIComponent(name)}?as=roots`));
}

/** What a model in the page is made of. */
interface Supply {
  embedded(checkpoint: string): Promise<Embedded>;
  /**
   * The weights at a checkpoint of the training, "" for the model itself, as bytes or in base64; null where there are
   * none.
   */
  weights(checkpoint: string): Promise<ArrayBuffer | string | null>;
  /** What the model answers to the sentence that the page opens with; it is shown before the model is there. */
  first(): Stored | null;
  /** What the model answered at checkpoints whose weights are not there. */
  answers(): Promise<Record<string, Stored>>;
  /** The script of the model. */
  script(): { url: string } | { text: string };
}

const fromServer = (embedded: Embedded): Supply => ({
  embedded: async (checkpoint) =>
    checkpoint === BESIDE ? json<Embedded>(`api/embedded?checkpoint=${BESIDE}`) : embedded,
  weights: (checkpoint) => buffer(`api/weights?checkpoint=${encodeURIComponent(checkpoint)}`),
  first: () => null,
  answers: async () => ({}),
  script: () => ({ url: "model.js" }),
});

const IN_FILE: Supply = {
  embedded: async (checkpoint) => JSON.parse(held(checkpoint === BESIDE ? `embedded.${BESIDE}` : "embedded")!),
  weights: (checkpoint) => heldLater(checkpoint ? `weights.${checkpoint}` : "weights"),
  first: () => JSON.parse(held("first") ?? "null"),
  answers: async () => JSON.parse((await heldLater("answers")) ?? "{}"),
  script: () => ({ text: held("model")! }),
};

class InPage implements Source {
  private readonly described: Promise<Embedded>;
  private readonly loaded = new Map<string, Promise<unknown>>();
  private readonly waiting = new Map<number, (reply: Reply) => void>();
  private readonly send: Promise<(call: Call) => void>;
  private first: Stored | null;
  /** The same answer by the model, which has its numbers; what the file stores has no number and no name. */
  private computed?: Promise<Trace>;
  /** What the file holds of checkpoints, once one of them was asked for. */
  private answers?: Record<string, Stored>;
  private calls = 0;

  constructor(private readonly supply: Supply) {
    this.described = supply.embedded("");
    this.first = supply.first();
    this.send = this.started();
    this.described.then(() => this.load("")).catch(() => undefined); // a question that needs it fails then
  }

  model = async () => (await this.described).model;

  look = (request: Request) => this.answer("look", request);
  peek = (request: Request) => this.answer("peek", request);

  private async answer(method: "look" | "peek", request: Request): Promise<Trace> {
    const { checkpoint = "" } = request;
    if (!checkpoint && this.first && answersTo(this.first, request)) {
      if (method === "look") {
        this.computed = this.confirm(this.first, request);
        this.computed.catch(() => undefined); // whoever asks for its numbers gets the error
      }
      return { ...this.first.trace };
    }
    if (checkpoint) this.answers ??= await this.supply.answers();
    const known = this.answers?.[checkpoint];
    if (known) {
      if (!answersTo(known, request)) throw refusal("needs_checkpoints");
      return known.trace;
    }
    return this.compute(method, request);
  }

  private async compute(method: "look" | "peek", request: Request): Promise<Trace> {
    await this.load(request.checkpoint ?? "");
    const found = await this.ask<Trace>(method, request);
    performance.mark("computed");
    return found;
  }

  /** Should the model in the page answer otherwise, or not at all, what is stored is not shown again. */
  private async confirm({ trace }: Stored, request: Request): Promise<Trace> {
    try {
      const found = await this.compute("look", request);
      if (found.replay.target_out.ids.join() !== trace.replay.target_out.ids.join()) throw refusal("other");
      return found;
    } catch (problem) {
      this.first = null;
      throw problem;
    }
  }

  async floats(id: string, name: string): Promise<Float32Array | null> {
    const known = this.answers?.[id];
    if (known) return numbers(known.tensors[name]);
    return this.ask("floats", id || (await this.computed)?.id, name);
  }

  async roots(id: string, name: string): Promise<Uint8Array | null> {
    const floats = await this.floats(id, name);
    return floats && Uint8Array.from(floats, (p) => Math.round(255 * Math.sqrt(Math.min(Math.max(p, 0), 1))));
  }

  heads = (...given: [Request, number, boolean]) => this.effects<HeadEffect[]>("heads", ...given);
  occlusion = (...given: [Request, number, boolean]) => this.effects<number[]>("occlusion", ...given);

  /** A stored answer is shown before the model is there. */
  private async effects<T>(method: "heads" | "occlusion", ...given: [Request, number, boolean]): Promise<T> {
    await this.load(given[0].checkpoint ?? "");
    return this.ask<T>(method, ...given);
  }

  private load(checkpoint: string): Promise<unknown> {
    const load = async () => {
      const [embedded, weights] = await Promise.all([
        this.supply.embedded(checkpoint),
        this.supply.weights(checkpoint),
      ]);
      if (!weights) throw refusal("needs_checkpoints");
      return this.ask("load", checkpoint, embedded, weights);
    };
    if (!this.loaded.has(checkpoint)) this.loaded.set(checkpoint, load());
    const loading = this.loaded.get(checkpoint)!;
    loading.catch(() => this.loaded.delete(checkpoint)); // the next question tries again
    return loading;
  }

  private async ask<T>(method: Call["method"], ...given: unknown[]): Promise<T> {
    const send = await this.send;
    const number = ++this.calls;
    const { value, problem } = await new Promise<Reply>((resolve) => {
      this.waiting.set(number, resolve);
      send({ number, method, given });
    });
    if (problem) throw new Refusal(problem);
    return value as T;
  }

  private receive(reply: Reply): void {
    this.waiting.get(reply.number)!(reply);
    this.waiting.delete(reply.number);
  }

  /** The worker; or, where the browser allows a page of this kind none, the page's own thread. */
  private async started(): Promise<(call: Call) => void> {
    const script = this.supply.script();
    try {
      const url =
        "url" in script ? script.url : URL.createObjectURL(new Blob([script.text], { type: "text/javascript" }));
      const worker = new Worker(url);
      await new Promise((resolve, reject) => {
        worker.onmessage = resolve;
        worker.onerror = reject;
      });
      worker.onmessage = ({ data }) => this.receive(data);
      return (call) => worker.postMessage(call);
    } catch {
      const element = document.createElement("script");
      await new Promise((resolve) => {
        element.onload = resolve;
        if ("url" in script) element.src = script.url;
        else element.text = script.text;
        document.head.append(element);
        if ("text" in script) resolve(null);
      });
      const { zhuyiModel } = globalThis as unknown as { zhuyiModel: (call: Call) => Reply };
      return (call) => setTimeout(() => this.receive(zhuyiModel(call)));
    }
  }
}

/** Whether a stored answer is to this question: of the same texts, and of the model as it is. */
function answersTo({ target, trace: { text, decoding, what_if } }: Stored, asked: Request): boolean {
  const { heads_off = [], positions_off = false, mask_lifted = false, prefix = [] } = asked;
  const { beam = decoding.beam, length_penalty = decoding.length_penalty } = asked;
  return (
    text === asked.text &&
    target === (asked.target ?? "") &&
    JSON.stringify(what_if) === JSON.stringify({ heads_off, positions_off, mask_lifted, prefix }) &&
    (beam ?? decoding.beam) === decoding.beam &&
    (length_penalty ?? decoding.length_penalty) === decoding.length_penalty
  );
}
