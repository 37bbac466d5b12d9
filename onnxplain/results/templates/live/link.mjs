// The address of the page with what it shows in it: #method=…&target=…&x=…, the input deflated, in letters that need no escapes.
import { deflated, fromBase64, inflated, toBase64 } from "./unpack.mjs";

/** The part of the address after the #, for a method, a target and an input (anything that JSON holds; typed arrays as bytes). */
export async function written(method, target, input) {
  const words = new URLSearchParams({ method, target });
  if (input !== null) {
    const packed = await deflated(new TextEncoder().encode(JSON.stringify(input)), "deflate-raw");
    words.set("x", toBase64(packed).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", ""));
  }
  return words.toString();
}

/** What such a part says: { method, target, input }, with null for what it leaves out. */
export async function read(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const packed = words.get("x");
  let input = null;
  if (packed) {
    try {
      const bytes = await inflated(fromBase64(packed.replaceAll("-", "+").replaceAll("_", "/")), "deflate-raw");
      input = JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      throw new Error("the input in this link is damaged or cut off; ask for the link again");
    }
  }
  return { method: words.get("method"), target: words.has("target") ? Number(words.get("target")) : null, input };
}
