// From strokes to the 8×8 numbers the digits model was trained on: ink per cell, the digit as high as the picture.

export const SIDE = 8;
/** Half the width of a stroke, as a part of the framed digit's side: about that of the training pictures. */
const PEN = 0.068;
/** The smallest frame, as a part of the pad: a dot stays a dot. */
const LEAST = 0.3;
const SAMPLES = 6;

/**
 * The square that a drawing is framed by, in the pad's own coordinates 0..1.
 * @param {number[][][]} strokes lists of points [x, y]
 */
export function frameOf(strokes) {
  const points = strokes.flat();
  if (!points.length) return null;
  const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const side = Math.max(right - left, bottom - top, LEAST) / (1 - 2 * PEN); // the pen's own width fits in too
  return { x: (left + right - side) / 2, y: (top + bottom - side) / 2, side };
}

/** Strokes in the coordinates of their frame. */
export function framed(strokes, frame) {
  return strokes.map((stroke) => stroke.map(([x, y]) => [(x - frame.x) / frame.side, (y - frame.y) / frame.side]));
}

/** The ink in each of the 8×8 cells, 0..1, row by row. */
export function pixelsOf(strokes) {
  const pixels = new Float32Array(SIDE * SIDE);
  const frame = frameOf(strokes);
  if (!frame) return pixels;
  const fine = SIDE * SAMPLES;
  const ink = new Uint8Array(fine * fine);
  for (const stroke of framed(strokes, frame))
    for (let i = 0; i < stroke.length; ++i) segment(ink, fine, stroke[Math.max(i - 1, 0)], stroke[i]);
  for (let y = 0; y < fine; ++y)
    for (let x = 0; x < fine; ++x)
      pixels[Math.floor(y / SAMPLES) * SIDE + Math.floor(x / SAMPLES)] += ink[y * fine + x] / SAMPLES ** 2;
  return pixels;
}

/** Ink every sample point near the segment from a to b. */
function segment(ink, fine, a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const range = (p, q) => [Math.floor((Math.min(p, q) - PEN) * fine), Math.ceil((Math.max(p, q) + PEN) * fine)];
  const [x0, x1] = range(a[0], b[0]);
  const [y0, y1] = range(a[1], b[1]);
  for (let y = Math.max(y0, 0); y < Math.min(y1, fine); ++y) {
    for (let x = Math.max(x0, 0); x < Math.min(x1, fine); ++x) {
      const [px, py] = [(x + 0.5) / fine - a[0], (y + 0.5) / fine - a[1]];
      const along = length ? Math.min(Math.max((px * dx + py * dy) / length, 0), 1) : 0;
      if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= PEN * PEN) ink[y * fine + x] = 1;
    }
  }
}
