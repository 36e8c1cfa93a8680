// Translates the lines of standard input with a model that `zhuyi export --to onnx` wrote:
//
//     npm install
//     node translate.mjs DIRECTORY < lines.txt
//
// In a browser the same lines run with `fetch` in the place of `readFile`. This is greedy search.
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-web";

const directory = process.argv[2];
const read = (name) => readFile(`${directory}/${name}`);
const readJson = async (name) => JSON.parse(await read(name));
const settings = await readJson("config.json");
const source = new Tokenizer(await readJson("tokenizer.source.json"), {});
const target = new Tokenizer(await readJson("tokenizer.target.json"), {});
const encoder = await ort.InferenceSession.create(await read("encoder.onnx"));
const decoder = await ort.InferenceSession.create(await read("decoder.onnx"));

const int64 = (values, dims) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);

/** Keys or values without any position: `layers batch groups 0 head_width`. */
function empty(memory) {
  const [layers, batch, groups, , width] = memory.dims;
  return new ort.Tensor("float32", new Float32Array(0), [layers, batch, groups, 0, width]);
}

function mostProbable(logProbs) {
  let best = 0;
  for (let token = 1; token < logProbs.length; token++) if (logProbs[token] > logProbs[best]) best = token;
  return best;
}

async function translate(line) {
  const framed = source.encode(line).ids; // after the source's prefix, and before EOS
  if (framed.length === settings.source_prefix.length + 1) return "";
  const tokens = [...framed.slice(0, -1).slice(0, settings.max_length - 1), settings.eos];
  const dims = [1, tokens.length];
  const source_mask = new ort.Tensor("bool", new Uint8Array(tokens.length).fill(1), dims);
  const memory = await encoder.run({ source: int64(tokens, dims), source_mask });
  let past = { past_keys: empty(memory.memory_keys), past_values: empty(memory.memory_values) };
  let token = settings.bos;
  const output = [];
  while (output.length < settings.max_length) {
    const step = await decoder.run({ tokens: int64([token], [1]), source_mask, ...past, ...memory });
    past = { past_keys: step.keys, past_values: step.values };
    token = settings.target_prefix[output.length] ?? mostProbable(step.log_probs.data);
    if (token === settings.eos) break;
    output.push(token);
  }
  return target.decode(output.slice(settings.target_prefix.length), { skip_special_tokens: true });
}

for await (const line of createInterface({ input: process.stdin })) console.log(await translate(line));
