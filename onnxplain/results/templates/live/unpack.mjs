// The parts of the page that are not text: gzip in base64, in the page itself or in scripts beside it. Scripts load from a
// folder on a disk too, where a page may not fetch files.

window.onnxplainParts ??= {};

/** The bytes of a part of the page, by name. */
export async function part(name) {
  const inside = document.getElementById(`part-${name}`);
  if (!inside && !(name in window.onnxplainParts)) await script(`parts/${name}.js`);
  const packed = (inside ? inside.textContent : window.onnxplainParts[name]).trim();
  if (inside) inside.remove();
  delete window.onnxplainParts[name];
  return inflated(fromBase64(packed), "gzip");
}

function script(address) {
  return new Promise((done, failed) => {
    const element = Object.assign(document.createElement("script"), { src: address, onload: done });
    element.onerror = () => failed(new Error(`${address} is missing beside this page; copy the whole folder`));
    document.head.append(element);
  });
}

export function fromBase64(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; ++i) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

export function toBase64(bytes) {
  let letters = "";
  for (let i = 0; i < bytes.length; i += 8192) letters += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(letters);
}

const through = async (bytes, stream) => new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());

export const inflated = (bytes, format) => through(bytes, new DecompressionStream(format));
export const deflated = (bytes, format) => through(bytes, new CompressionStream(format));
