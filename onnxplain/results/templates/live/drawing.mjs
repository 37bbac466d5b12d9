// From strokes to the ink in each cell of a small grey picture.

/** Half the width of a stroke, as a part of the picture's side. */
const PEN = 0.068;
/** The smallest frame, as a part of the pad: a dot stays a dot. */
const LEAST = 0.3;
const WHOLE = { x: 0, y: 0, side: 1 };

/**
 * The square that a drawing is framed by, in the pad's own coordinates 0..1.
 * @param {number[][][]} strokes lists of points [x, y]
 * @param {boolean} fitted whether the drawing fills the picture; else the picture is the pad
 */
export function frameOf(strokes, fitted) {
  const points = strokes.flat();
  if (!points.length || !fitted) return WHOLE;
  const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const side = Math.max(right - left, bottom - top, LEAST) / (1 - 2 * PEN); // the pen's own width fits in too
  return { x: (left + right - side) / 2, y: (top + bottom - side) / 2, side };
}

/** Strokes in the coordinates of their frame. */
export function framed(strokes, frame) {
  return strokes.map((stroke) => stroke.map(([x, y]) => [(x - frame.x) / frame.side, (y - frame.y) / frame.side]));
}

/** The ink in each of height × width cells, 0..1, row by row. */
export function inkOf(strokes, frame, height, width) {
  const most = Math.max(height, width);
  const per = Math.max(Math.ceil(48 / most), 2); // samples of a cell, in each direction
  const [rows, columns] = [height * per, width * per];
  const covered = new Uint8Array(rows * columns);
  for (const stroke of framed(strokes, frame))
    for (let i = 0; i < stroke.length; ++i) segment(covered, rows, columns, most * per, stroke[Math.max(i - 1, 0)], stroke[i]);
  const ink = new Float32Array(height * width);
  for (let y = 0; y < rows; ++y)
    for (let x = 0; x < columns; ++x) ink[Math.floor(y / per) * width + Math.floor(x / per)] += covered[y * columns + x];
  return ink.map((count) => count / per ** 2);
}

/** Ink every sample point near the segment from a to b. */
function segment(covered, rows, columns, scale, a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const range = (p, q, most) => [Math.max(Math.floor((Math.min(p, q) - PEN) * scale), 0), Math.min(Math.ceil((Math.max(p, q) + PEN) * scale), most)];
  const [x0, x1] = range(a[0], b[0], columns);
  const [y0, y1] = range(a[1], b[1], rows);
  for (let y = y0; y < y1; ++y) {
    for (let x = x0; x < x1; ++x) {
      const [px, py] = [(x + 0.5) / scale - a[0], (y + 0.5) / scale - a[1]];
      const along = length ? Math.min(Math.max((px * dx + py * dy) / length, 0), 1) : 0;
      if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= PEN * PEN) covered[y * columns + x] = 1;
    }
  }
}

/** Draw strokes on a canvas in coordinates 0..1. */
export function trace(context, strokes, width, style) {
  Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round", strokeStyle: style });
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    if (stroke.length === 1) context.lineTo(stroke[0][0] + 1e-4, stroke[0][1]);
    for (let i = 1; i < stroke.length - 1; ++i) { // through the middles, so that corners of a quick hand are round
      const [a, b] = [stroke[i], stroke[i + 1]];
      context.quadraticCurveTo(a[0], a[1], (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
    }
    if (stroke.length > 1) context.lineTo(...stroke.at(-1));
    context.stroke();
  }
}
