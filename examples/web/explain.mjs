// Runs any explained model in Node on arrays from .npy files, and writes what it returns:
//
//   node explain.mjs explained.onnx image=digit_3.npy --target -1 --out results
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as ort from "onnxruntime-node";
import { ExplainedModel } from "./explained.js";
import { readNpy, writeNpy } from "./npy.js";

/** Runs what the words of a command line ask for; returns the lines to print. */
export async function explain(words) {
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: { target: { type: "string" }, out: { type: "string" } },
  });
  const [file, ...inputs] = positionals;
  if (!file) throw new Error("usage: node explain.mjs FILE.onnx [NAME=]ARRAY.npy… [--target=I[,I…]] [--out DIR]");
  const model = await ExplainedModel.load(ort, readFileSync(file), { logSeverityLevel: 3 });
  const feeds = {};
  for (const word of inputs) {
    const name = model.session.inputNames.find((n) => word.startsWith(`${n}=`)) ?? model.session.inputNames[0];
    const path = word.startsWith(`${name}=`) ? word.slice(name.length + 1) : word;
    feeds[name] = readNpy(ort, readFileSync(path));
  }
  const target = values.target?.split(",").map(Number);
  const results = await model.run(feeds, target);
  const lines = [`${model.about.method} of '${model.about.output}', target ${model.about.target}`];
  if (values.out) mkdirSync(values.out, { recursive: true });
  for (const [name, tensor] of Object.entries(results)) {
    const numbers = tensor.type !== "string";
    lines.push(`${name}: ${tensor.type} [${tensor.dims.join(", ")}]${numbers ? "" : ", not written"}`);
    if (values.out && numbers) writeFileSync(join(values.out, `${name.replace(/[^A-Za-z0-9._-]/g, "_")}.npy`), writeNpy(tensor));
  }
  return lines;
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    for (const line of await explain(process.argv.slice(2))) console.log(line);
  } catch (error) {
    console.error(`explain: ${error.message}`);
    process.exitCode = 2;
  }
}
