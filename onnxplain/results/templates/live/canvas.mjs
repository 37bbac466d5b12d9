// Pictures on canvases: pixels, cells of relevance, bars. All are drawn in coordinates 0..1 of the longer side.
import { rimOf } from "./numbers.mjs";

export const CLIP = 99.5;
const PALE = 70; // of 255: how much of a picture is seen under colours
const FEW = 40; // cells to a side that are drawn one by one
const dark = matchMedia("(prefers-color-scheme: dark)");

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A canvas cleared for a picture of some height and width, as large as its place in the page. */
export function cleared(canvas, height, width) {
  const longer = Math.max(1, Math.round(Math.max(canvas.clientWidth, canvas.clientHeight) * devicePixelRatio));
  const most = Math.max(height, width);
  const size = [Math.round((longer * width) / most), Math.round((longer * height) / most)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = canvas.getContext("2d");
  context.setTransform(longer, 0, 0, longer, 0, 0);
  context.clearRect(0, 0, 1, 1);
  return context;
}

/** A picture as it is, one that people draw as ink on paper; or in pale grey, for what lies over it. */
export function paintPixels(context, { pixels, height, width }, { channels, draws }, pale = false) {
  const small = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  const ink = colour("ink").match(/\w\w/g).map((h) => parseInt(h, 16));
  for (let i = 0; i < width * height; ++i) {
    const at = pixels.subarray(i * channels, (i + 1) * channels);
    const grey = channels === 1 ? at[0] : 0.299 * at[0] + 0.587 * at[1] + 0.114 * at[2];
    if (draws) image.data.set([...ink, Math.max(0, Math.min(255, at[0]))], 4 * i);
    else if (pale) image.data.set([grey, grey, grey, PALE], 4 * i);
    else if (channels === 1) image.data.set([grey, grey, grey, 255], 4 * i);
    else image.data.set([at[0], at[1], at[2], channels === 4 ? at[3] : 255], 4 * i);
  }
  small.getContext("2d").putImageData(image, 0, 0);
  const most = Math.max(height, width);
  context.imageSmoothingEnabled = most > FEW;
  context.drawImage(small, 0, 0, width / most, height / most);
}

/** The strongest colour's value of an explanation, and the style of each cell. */
function styles(cells, signed) {
  const rim = rimOf(cells, CLIP);
  const share = (value) => (rim ? Math.max(-1, Math.min(1, value / rim)) : 0);
  const [positive, negative] = signed ? [colour("for"), colour("against")] : [colour("strength"), colour("strength")];
  return { rim, of: (value) => [share(value) < 0 ? negative : positive, Math.abs(share(value)) ** 0.8] };
}

/** Cells of relevance: a few one by one with rounded corners, many as a picture, within a frame. */
export function paintCells(context, { cells, height, width }, signed, frame = { x: 0, y: 0, side: 1 }) {
  const { of } = styles(cells, signed);
  const most = Math.max(height, width);
  const side = frame.side / most;
  if (most > FEW) {
    context.drawImage(pictureOf({ cells, height, width }, of), frame.x, frame.y, side * width, side * height);
    return;
  }
  const gap = 0.028 * side;
  for (let i = 0; i < cells.length; ++i) {
    const [rgb, alpha] = of(cells[i]);
    context.beginPath();
    context.roundRect(frame.x + (i % width) * side + gap, frame.y + Math.floor(i / width) * side + gap, side - 2 * gap, side - 2 * gap, side * 0.1);
    for (const style of [colour("soft"), `rgb(${rgb} / ${alpha})`]) {
      context.fillStyle = style;
      context.fill();
    }
  }
}

/** Cells as a picture with a pixel for each. */
function pictureOf({ cells, height, width }, of) {
  const small = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  for (let i = 0; i < cells.length; ++i) {
    const [rgb, alpha] = of(cells[i]);
    image.data.set([...rgb.split(" ").map(Number), 255 * alpha], 4 * i);
  }
  small.getContext("2d").putImageData(image, 0, 0);
  return small;
}

/** A map over a picture, enlarged without edges where it has fewer places. */
export function paintMap(context, map, signed, height, width) {
  const most = Math.max(height, width);
  context.imageSmoothingEnabled = map.height !== height || map.width !== width;
  context.drawImage(pictureOf(map, styles(map.cells, signed).of), 0, 0, width / most, height / most);
}

/** The ink of a small grey picture as a dot in each cell. */
export function paintDots(context, { pixels, height, width }) {
  const most = Math.max(height, width);
  context.fillStyle = colour("ink");
  pixels.forEach((ink, i) => {
    context.beginPath();
    context.arc(((i % width) + 0.5) / most, (Math.floor(i / width) + 0.5) / most, (0.168 / most) * Math.sqrt(Math.max(0, ink) / 255), 0, 7);
    context.fill();
  });
}

/** Bars to the right for the target, to the left against it, with names and values: a picture of a row for others. */
export function paintBars(context, fields, box) {
  const rim = Math.max(...fields.map((f) => Math.abs(f.relevance)), 0);
  const line = box.height / fields.length;
  const middle = box.x + box.width * 0.68;
  context.font = `${Math.min(15, line * 0.62)}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  fields.forEach((field, i) => {
    const y = box.y + line * (i + 0.5);
    const length = rim ? (field.relevance / rim) * box.width * 0.3 : 0;
    context.fillStyle = `rgb(${colour(!field.signed ? "strength" : length < 0 ? "against" : "for")})`;
    context.fillRect(Math.min(middle, middle + length), y - line * 0.3, Math.abs(length), line * 0.6);
    context.fillStyle = colour("ink");
    context.textAlign = "right";
    context.fillText(`${field.label} = ${field.shown}`, box.x + box.width * 0.36, y, box.width * 0.36);
  });
  context.fillStyle = colour("rim");
  context.fillRect(middle - 0.5, box.y, 1, box.height);
}

/** Call back when colours change. */
export const onScheme = (call) => dark.addEventListener("change", call);
