// Arrays in NumPy's .npy files as tensors, for Node.

const TYPES = {
  "<f4": ["float32", Float32Array], "<f8": ["float64", Float64Array], "<f2": ["float16", Uint16Array],
  "<i8": ["int64", BigInt64Array], "<i4": ["int32", Int32Array], "<i2": ["int16", Int16Array], "|i1": ["int8", Int8Array],
  "<u8": ["uint64", BigUint64Array], "<u4": ["uint32", Uint32Array], "<u2": ["uint16", Uint16Array], "|u1": ["uint8", Uint8Array],
  "|b1": ["bool", Uint8Array],
};

/** The tensor in the bytes of a .npy file. */
export function readNpy(ort, bytes) {
  if (bytes[0] !== 0x93 || String.fromCharCode(...bytes.subarray(1, 6)) !== "NUMPY") throw new Error("no .npy file");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const wide = bytes[6] > 1;
  const start = wide ? 12 : 10;
  const end = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(bytes.subarray(start, end));
  const [descr, order, extents] = [/'descr': *'([^']*)'/, /'fortran_order': *(\w+)/, /'shape': *\(([^)]*)\)/].map((p) => p.exec(header)?.[1]);
  if (!(descr in TYPES) || order !== "False" || extents === undefined) throw new Error(`this .npy file is not read: ${header.trim()}`);
  const [type, kind] = TYPES[descr];
  const shape = extents.split(",").filter((e) => e.trim()).map(Number);
  const count = shape.reduce((a, b) => a * b, 1);
  const data = new kind(bytes.buffer.slice(bytes.byteOffset + end, bytes.byteOffset + end + count * kind.BYTES_PER_ELEMENT));
  return new ort.Tensor(type, fitting(type, data), shape);
}

/** The bytes of a .npy file for a tensor of numbers. */
export function writeNpy(tensor) {
  const descr = Object.keys(TYPES).find((key) => TYPES[key][0] === tensor.type);
  if (!descr) throw new Error(`NumPy has no ${tensor.type}`);
  const body = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${tensor.dims.map((d) => `${d},`).join("")}), }`;
  const length = Math.ceil((10 + body.length + 1) / 64) * 64 - 10;
  const head = new TextEncoder().encode(`\u0000NUMPY\u0001\u0000\u0000\u0000${body.padEnd(length - 1)}\n`);
  head[0] = 0x93;
  new DataView(head.buffer).setUint16(8, length, true);
  const data = new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
  const bytes = new Uint8Array(head.length + data.length);
  bytes.set(head);
  bytes.set(data, head.length);
  return bytes;
}

/** Half-precision numbers in the kind of array that this engine's tensors hold. */
function fitting(type, data) {
  return type === "float16" && typeof Float16Array !== "undefined" ? new Float16Array(data.buffer) : data;
}
