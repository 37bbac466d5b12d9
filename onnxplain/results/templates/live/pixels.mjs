// Pixel values 0..255, [height, width, channels], from picture files, and as the numbers that the model takes.

const LARGEST = 512;

/** The size that a picture gets: the model's own, or where that takes any size the picture's, up to a bound. */
function sizeFor(about, width, height) {
  const bound = Math.min(1, LARGEST / Math.max(width, height));
  return [about.width ?? Math.round(width * bound), about.height ?? Math.round(height * bound)];
}

/**
 * The pixels of a picture file, and in words what was done to it.
 * @param {Blob} file what the browser can decode
 * @param about of the page: channels, height and width (null: any)
 * @param {string} fit "crop" to the middle, the "whole" with borders of zeros, or "stretch"
 */
export async function pixelsOfFile(file, about, fit) {
  let picture;
  try {
    picture = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error(`${file.name || "this file"} is no picture that this browser can read; take a PNG, JPEG or WebP`);
  }
  const [width, height] = sizeFor(about, picture.width, picture.height);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  const same = width === picture.width && height === picture.height;
  const scale = (fit === "whole" ? Math.min : Math.max)(width / picture.width, height / picture.height);
  const [w, h] = fit === "stretch" ? [width, height] : [picture.width * scale, picture.height * scale];
  context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
  const pixels = channelsOf(context.getImageData(0, 0, width, height).data, about.channels, fit === "whole", file.name);
  const how = { crop: "cropped to its middle and resized", whole: "resized, with borders of zeros,", stretch: "stretched" }[fit];
  const told = `${file.name || "picture"}, ${picture.width} × ${picture.height}${same ? "" : `, ${how} to ${width} × ${height} by this browser`}`;
  return { pixels, width, height, told };
}

/** Of red, green, blue and alpha what the model takes. */
function channelsOf(data, channels, bordered, name) {
  const count = data.length / 4;
  const pixels = new Float32Array(count * channels);
  for (let i = 0; i < count; ++i) {
    const [r, g, b, a] = data.subarray(4 * i, 4 * i + 4);
    if (channels < 4 && a < 255 && !(bordered && a === 0)) throw new Error(`${name || "the picture"} has transparency, which the model does not take; save it without`);
    if (channels === 1) pixels[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; // the luma of ITU-R 601, in whole numbers
    else for (let c = 0; c < channels; ++c) pixels[i * channels + c] = [r, g, b, a][c];
  }
  return pixels;
}

const factor = (numbers, c, none) => (numbers === null ? none : numbers.length === 1 ? numbers[0] : numbers[c]);

/** The model's input of pixels: (pixel · scale − mean) / std, in its order of axes; and its extents. */
export function valuesOf({ pixels, width, height }, about) {
  const { channels, layout, scale, mean, std } = about;
  const first = layout.includes("C") && layout.indexOf("C") < layout.indexOf("H");
  const values = new Float64Array(pixels.length);
  for (let i = 0; i < width * height; ++i)
    for (let c = 0; c < channels; ++c)
      values[first ? c * width * height + i : i * channels + c] = (pixels[i * channels + c] * (scale ?? 1) - factor(mean, c, 0)) / factor(std, c, 1);
  return { values, dims: extentsOf(layout, about.input.count, channels, height, width) };
}

export const extentsOf = (layout, count, channels, height, width) =>
  [...layout].map((axis) => ({ N: count, C: channels, H: height, W: width })[axis]);

/** The pixels that an input was made of: the inverse of `valuesOf`. */
export function pixelsOfValues(values, about, width, height) {
  const { channels, layout, scale, mean, std } = about;
  const first = layout.includes("C") && layout.indexOf("C") < layout.indexOf("H");
  const pixels = new Float32Array(values.length);
  for (let i = 0; i < width * height; ++i)
    for (let c = 0; c < channels; ++c) {
      const value = values[first ? c * width * height + i : i * channels + c];
      pixels[i * channels + c] = (value * factor(std, c, 1) + factor(mean, c, 0)) / (scale ?? 1);
    }
  return pixels;
}

/** The attribution of one sample summed over its channels: { cells, width, height }. A map has its places last, whatever the layout. */
export function cellsOf(attribution, dims, layout, isMap) {
  const shape = isMap || layout.includes("N") ? dims.slice(1) : dims;
  if (shape.length === 2) return { cells: attribution, height: shape[0], width: shape[1] };
  const first = isMap || layout.indexOf("C") < layout.indexOf("H");
  const [channels, height, width] = first ? shape : [shape[2], shape[0], shape[1]];
  const cells = new Float64Array(height * width);
  for (let i = 0; i < cells.length; ++i)
    for (let c = 0; c < channels; ++c) cells[i] += attribution[first ? c * cells.length + i : i * channels + c];
  return { cells, height, width };
}
