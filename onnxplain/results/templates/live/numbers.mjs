// Numbers as ONNX Runtime takes them and returns them, and what the page makes of scores.

const KINDS = {
  float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array, int16: Int16Array, int8: Int8Array,
  uint64: BigUint64Array, uint32: Uint32Array, uint16: Uint16Array, uint8: Uint8Array, bool: Uint8Array,
};

/** One sample's values as a tensor of `input`, repeated where the file takes several samples at a time. */
export function tensorOf(ort, input, values, dims) {
  const all = input.count > 1 ? Array.from({ length: input.count }, () => Array.from(values)).flat() : values;
  return new ort.Tensor(input.type, dataOf(input.type, all), dims);
}

function dataOf(type, values) {
  if (type === "string") return Array.from(values, String);
  if (type === "float16") return halves(values);
  const kind = KINDS[type];
  if (kind === BigInt64Array || kind === BigUint64Array) return kind.from(values, (v) => BigInt(Math.round(v)));
  return kind.from(values, type.startsWith("float") ? undefined : Math.round);
}

/** A tensor's elements as plain numbers. */
export function plain(tensor) {
  const isBits = tensor.type === "float16" && tensor.data instanceof Uint16Array;
  return Float64Array.from(tensor.data, isBits ? fromHalf : Number);
}

function halves(values) {
  if (typeof Float16Array !== "undefined") return Float16Array.from(values);
  return Uint16Array.from(values, toHalf);
}

/** The bits of the half-precision number nearest to a number; of two as near, the even one. */
export function toHalf(value) {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(Math.floor(Math.log2(size || 2 ** -24)), -14);
  const steps = size / 2 ** (exponent - 10);
  const low = Math.floor(steps);
  const rest = steps - low;
  const rounded = rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
  return sign | (rounded + ((exponent + 14) << 10)); // a carry raises the exponent by itself
}

export function fromHalf(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}

/** The value with the strongest colour: a percentile of sizes, so that single outliers do not dim the rest. */
export function rimOf(values, clip) {
  const sizes = Float64Array.from(values, Math.abs).filter(Number.isFinite).sort();
  if (!sizes.length || !sizes.at(-1)) return 0;
  const place = (clip / 100) * (sizes.length - 1);
  const [below, above] = [sizes[Math.floor(place)], sizes[Math.ceil(place)]];
  return below + (above - below) * (place - Math.floor(place)) || sizes.at(-1);
}

/** Probabilities of the classes and where they are from; null where the output is no classification. */
export function sharesOf(values, rank, activation) {
  if (rank !== 2 || values.length < 2 || !values.every(Number.isFinite)) return null;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  if (activation === "LogSoftmax") return Array.from(values, Math.exp);
  if (activation === "Softmax" || activation === "Sigmoid" || (low >= 0 && high <= 1)) return Array.from(values);
  const powers = Array.from(values, (v) => Math.exp(v - high));
  if (high <= 0 && Math.abs(sum(Array.from(values, Math.exp)) - 1) < 1e-3) return Array.from(values, Math.exp);
  return powers.map((p) => p / sum(powers));
}

/** A number for people. */
export function told(value) {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) return value.toExponential(2).replace("e+", "e").replace("-", "−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

export const percent = (p) => (p > 0.995 && p < 1 ? ">99 %" : p > 0 && p < 0.005 ? "<1 %" : `${Math.round(100 * p)} %`);
