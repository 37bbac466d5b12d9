// Running explained models (files written by `onnxplain rewrite`) in JavaScript: the same in Node and in a page. The caller
// brings the runtime, onnxruntime-node or onnxruntime-web. The contract of the files is docs/contract.md.

const CONTRACT = 1;

/** What a file says of itself: the JSON object under "onnxplain" in its metadata, or null for a model that is not explained. */
export function readMetadata(bytes) {
  // Of the protocol buffer only the top level is walked: field 14 of ModelProto holds the metadata, one entry each.
  for (const [field, entry] of fields(bytes)) {
    if (field !== 14 || !entry) continue;
    const pair = new Map(fields(entry));
    if (text(pair.get(1)) === "onnxplain") return JSON.parse(text(pair.get(2)));
  }
  return null;
}

const text = (bytes) => new TextDecoder().decode(bytes ?? new Uint8Array());

/** The fields of a protocol buffer message: [number, bytes], with null for those that are plain numbers. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length) throw new Error("the file is no ONNX model, or is cut off");
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    const length = kind === 2 ? varint() : kind === 1 ? 8 : kind === 5 ? 4 : 0;
    if (at + length > bytes.length || ![0, 1, 2, 5].includes(kind)) throw new Error("the file is no ONNX model, or is cut off");
    yield [Math.floor(tag / 8), kind === 2 ? bytes.subarray(at, at + length) : null];
    at += length;
  }
}

/** An explained model, loaded. */
export class ExplainedModel {
  /**
   * Load a file from its bytes.
   * @param ort the runtime: `import * as ort from "onnxruntime-node"` or "onnxruntime-web"
   * @param {Uint8Array} bytes the file
   * @param options of the runtime's session
   */
  static async load(ort, bytes, options = {}) {
    const about = readMetadata(bytes);
    if (about === null) throw new Error("no explained model; make one: onnxplain rewrite MODEL -o FILE");
    if (about.contract !== CONTRACT) throw new Error(`the file follows contract ${about.contract}, this code knows contract ${CONTRACT}`);
    return new ExplainedModel(ort, about, await ort.InferenceSession.create(bytes, options));
  }

  constructor(ort, about, session) {
    this.ort = ort;
    this.about = about;
    this.session = session;
    // JavaScript knows tensors only: outputs of other kinds (a classifier's list of maps) are left out.
    this.outputs = session.outputNames.filter((_, i) => session.outputMetadata?.[i]?.isTensor ?? true);
  }

  /**
   * Predict and explain.
   * @param feeds tensors by the name of the input
   * @param {number[]} target one index per sample or one for all, where the file leaves it open; negative: the top prediction
   * @returns tensors by the name of the output
   */
  async run(feeds, target = [-1]) {
    const open = this.about.run_time_inputs.target;
    const all = { ...feeds };
    if (open && !(open in all)) all[open] = new this.ort.Tensor("int64", BigInt64Array.from(target, BigInt), [target.length]);
    const missing = this.session.inputNames.filter((name) => !(name in all));
    const unknown = Object.keys(all).filter((name) => !this.session.inputNames.includes(name));
    if (missing.length || unknown.length) {
      const problems = [...missing.map((n) => `input '${n}' is missing`), ...unknown.map((n) => `no input '${n}' in the model`)];
      throw new Error(problems.join("; "));
    }
    return this.session.run(all, this.outputs);
  }
}
