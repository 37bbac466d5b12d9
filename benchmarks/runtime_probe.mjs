// Runs explained models on onnxruntime-node or onnxruntime-web and prints a line of JSON for each:
//   node runtime_probe.mjs node|web FOLDER CASE…
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [kind, folder, ...names] = process.argv.slice(2);
const require = createRequire(new URL("../examples/web/package.json", import.meta.url));
const ort = require(kind === "node" ? "onnxruntime-node" : "onnxruntime-web");
const { ExplainedModel } = await import("../examples/web/explained.js");
if (kind === "web") ort.env.wasm.numThreads = 1;

const MAKE = { int64: (list) => BigInt64Array.from(list, BigInt), float32: (list) => Float32Array.from(list) };

for (const name of names) {
  const answer = { case: name };
  try {
    const { feeds, expected } = JSON.parse(readFileSync(join(folder, `${name}.json`)));
    const model = await ExplainedModel.load(ort, new Uint8Array(readFileSync(join(folder, `${name}.onnx`))), { logSeverityLevel: 4 });
    const tensors = Object.entries(feeds).map(([key, [type, shape, list]]) => [key, new ort.Tensor(type, MAKE[type](list), shape)]);
    const results = await model.run(Object.fromEntries(tensors));
    answer.difference = 0;
    for (const [output, list] of Object.entries(expected)) {
      const most = Math.max(...list.map(Math.abs), 1e-30);
      const gap = Math.max(...list.map((value, i) => Math.abs(results[output].data[i] - value))) / most;
      if (!(gap <= 1e-2)) throw new Error(`output '${output}' is another one: it differs by ${gap} of its largest number`);
      answer.difference = Math.max(answer.difference, gap);
    }
  } catch (error) {
    answer.error = String(error.message ?? error).slice(0, 2000);
  }
  console.log(JSON.stringify(answer));
}
process.exit(0);
