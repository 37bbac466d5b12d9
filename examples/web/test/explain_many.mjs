// Runs explain.mjs on one command line after another without starting Node again: each line of the input is a list of words in
// JSON, each line of the output what became of it.
import { createInterface } from "node:readline";
import { explain } from "../explain.mjs";

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await explain(JSON.parse(line)).then(
    (lines) => ({ lines }),
    (error) => ({ error: error.message }),
  );
  console.log(JSON.stringify(answer));
}
