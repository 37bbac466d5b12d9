// The page's input where the model takes a picture: dropped, chosen, pasted, taken from the examples, or drawn.
import { cleared, colour, CLIP, paintCells, paintDots, paintMap, paintPixels } from "./canvas.mjs";
import { frameOf, framed, inkOf, trace } from "./drawing.mjs";
import { rimOf, told } from "./numbers.mjs";
import { cellsOf, pixelsOfFile, pixelsOfValues, valuesOf } from "./pixels.mjs";

const at = (id) => document.getElementById(id);
const WHOLE = { x: 0, y: 0, side: 1 };

/**
 * The input of a page for pictures.
 * @param about what the page says of the input
 * @param {() => void} changed called when there is another input
 * @param {(error: Error) => void} fail called with what is wrong with what was given
 */
export function pictureInput(about, changed, fail) {
  const now = { image: null, strokes: [], frame: WHOLE, told: "", file: null, cursor: null };
  const shown = () => now.image ?? { height: about.height ?? 1, width: about.width ?? 1, pixels: null };

  function set(changes, what = "new") {
    Object.assign(now, { strokes: [], frame: WHOLE, file: null, told: "", image: null, ...changes });
    document.body.classList.toggle("given", now.image !== null);
    at("source").textContent = now.told;
    changed(what);
  }

  function drawn(strokes) {
    const frame = frameOf(strokes, at("fitted").checked);
    const ink = inkOf(strokes, frame, about.height, about.width);
    set({ strokes, frame, image: { pixels: ink.map((v) => 255 * v), height: about.height, width: about.width } }, "input");
  }

  async function take(file) {
    const { told: words, ...image } = await pixelsOfFile(file, about, at("fit")?.value ?? "crop");
    set({ image, file, told: words });
  }

  /** Cells of relevance of a result, as large as the method gives them. */
  function cells({ attributions }) {
    const [{ values, dims, isMap }] = Object.values(attributions);
    return cellsOf(values, dims, about.layout, isMap);
  }

  /** The explanation on a canvas: over the ink of a drawing, or over the picture in pale. */
  function paintHeat(canvas, { image, strokes, frame, result, signed }) {
    const { height, width } = image ?? shown();
    const context = cleared(canvas, height, width);
    if (!result) return context;
    const map = cells(result);
    if (!about.draws) {
      paintPixels(context, image, about, true);
      paintMap(context, map, signed, height, width);
    } else {
      paintCells(context, map, signed);
      if (strokes.length) trace(context, framed(strokes, frame), 0.011, colour("ink"));
      else paintDots(context, image);
    }
    return context;
  }

  /** What the model is given, on a canvas. */
  function paintInput(canvas, { image, strokes, frame }) {
    const { height, width } = image ?? shown();
    const context = cleared(canvas, height, width);
    if (strokes.length) trace(context, strokes, 0.066, colour("ink"));
    else if (image) paintPixels(context, image, about);
    return context;
  }

  /** The pad. On a phone, where the explanation of a drawing has no place of its own, it lies under the ink. */
  function paintPad(result, signed) {
    const { height, width } = shown();
    const under = result && !at("heat").clientWidth;
    if (!under) {
      const context = paintInput(at("pad"), now);
      if (now.strokes.length && at("fitted").checked) outline(context);
    } else {
      const context = cleared(at("pad"), height, width);
      if (!about.draws) paintPixels(context, now.image, about, true);
      if (about.draws) paintCells(context, cells(result), signed, now.frame);
      else paintMap(context, cells(result), signed, height, width);
      if (now.strokes.length) trace(context, now.strokes, 0.011, colour("ink"));
      else if (about.draws) paintDots(context, now.image);
    }
    if (now.cursor && document.activeElement === at("pad")) outline(at("pad").getContext("2d"), cellAt(now.cursor));
  }

  const cellAt = ([x, y]) => ({ x: x / Math.max(about.height, about.width), y: y / Math.max(about.height, about.width), side: 1 / Math.max(about.height, about.width) });

  /** What of the pad the model is shown, or the keyboard's cell. */
  function outline(context, frame = now.frame) {
    context.strokeStyle = colour("quiet");
    context.lineWidth = 1.2 / at("pad").clientWidth;
    context.setLineDash([0.012, 0.012]);
    context.strokeRect(frame.x, frame.y, frame.side, frame.side);
    context.setLineDash([]);
  }

  function show(result, signed) {
    paintPad(result, signed);
    paintHeat(at("heat"), { ...now, result, signed });
    if (!result) return void at("heat").setAttribute("aria-label", "Relevance: nothing given yet");
    const map = cells(result);
    const rim = rimOf(map.cells, CLIP);
    const value = told(rim);
    at("ramp").className = signed ? "both" : "one";
    at("low").textContent = signed ? `against −${value}` : "0";
    at("high").textContent = `${signed ? "for +" : "strong "}${value}`;
    at("ramp").parentElement.title = `The strongest colour stands for the percentile ${CLIP} of sizes`;
    const strongest = map.cells.reduce((best, v, i) => (Math.abs(v) > Math.abs(map.cells[best]) ? i : best), 0);
    const where = `row ${Math.floor(strongest / map.width) + 1}, column ${(strongest % map.width) + 1}`;
    const side = !signed ? "" : map.cells[strongest] < 0 ? ", against it" : ", for it";
    at("heat").setAttribute("aria-label", `Relevance of ${map.width} by ${map.height} places; the strongest is in ${where}${side}`);
  }

  // -- given by people -------------------------------------------------------------------------------------------------

  function listen() {
    at("file").addEventListener("change", () => { const [file] = at("file").files; at("file").value = ""; if (file) take(file).catch(fail); });
    at("fit")?.addEventListener("change", () => { if (now.file) take(now.file).catch(fail); });
    at("clear").addEventListener("click", () => set({ cursor: null }));
    at("examples").replaceChildren(...about.examples.map(exampleButton));
    new ResizeObserver(() => changed("size")).observe(at("pad"));
    if (about.draws) listenToPen();
    else at("pad").addEventListener("click", () => at("file").click());
    if (!about.draws) at("pad").addEventListener("keydown", (event) => { if (["Enter", " "].includes(event.key)) { event.preventDefault(); at("file").click(); } });
  }

  function listenToPen() {
    const pad = at("pad");
    const point = (event) => {
      const box = pad.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((v) => Math.min(Math.max(v, 0.02), 0.98));
    };
    let pointer = null; // the one that draws: a second finger does nothing
    pad.addEventListener("pointerdown", (event) => {
      if (pointer !== null || event.button > 0) return;
      pointer = event.pointerId;
      pad.setPointerCapture(pointer);
      if (now.image && !now.strokes.length) set({ cursor: null }); // a drawing begins on an empty pad
      drawn([...now.strokes, [point(event)]]);
    });
    pad.addEventListener("pointermove", (event) => {
      if (event.pointerId !== pointer) return;
      const stroke = now.strokes.at(-1);
      for (const step of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
        const [next, last] = [point(step), stroke.at(-1)];
        if (Math.hypot(next[0] - last[0], next[1] - last[1]) > 0.006) stroke.push(next);
      }
      drawn(now.strokes);
    });
    const lift = (event) => { if (event.pointerId === pointer) pointer = null; };
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) pad.addEventListener(name, lift);
    at("fitted").addEventListener("change", () => { if (now.strokes.length) drawn(now.strokes); });
    pad.addEventListener("keydown", inkByKeys);
    for (const name of ["focus", "blur"]) pad.addEventListener(name, () => changed("size"));
  }

  /** Arrows move a cell, space inks it, Escape clears. */
  function inkByKeys(event) {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step && ![" ", "Escape", "Delete", "Backspace"].includes(event.key)) return;
    event.preventDefault();
    const [x, y] = now.cursor ?? [Math.floor(about.width / 2), Math.floor(about.height / 2)];
    if (step) {
      now.cursor = [(x + step[0] + about.width) % about.width, (y + step[1] + about.height) % about.height];
      at("source").textContent = `row ${now.cursor[1] + 1}, column ${now.cursor[0] + 1}`;
      changed("size");
    } else if (event.key === " ") {
      const pixels = now.image ? now.image.pixels.slice() : new Float32Array(about.width * about.height);
      pixels[y * about.width + x] = pixels[y * about.width + x] > 127 ? 0 : 255;
      set({ image: { pixels, height: about.height, width: about.width }, cursor: [x, y], told: `row ${y + 1}, column ${x + 1} ${pixels[y * about.width + x] ? "inked" : "blank"}` }, "input");
    } else set({ cursor: null });
  }

  function exampleButton(example, i) {
    const button = Object.assign(document.createElement("button"), { type: "button", title: example.name });
    button.setAttribute("aria-label", `Example ${i + 1}: ${example.name}`);
    const canvas = Object.assign(document.createElement("canvas"), { width: example.width, height: example.height });
    button.append(canvas);
    const image = imageOf(example);
    const draw = () => {
      const context = canvas.getContext("2d");
      const most = Math.max(canvas.width, canvas.height);
      context.setTransform(most, 0, 0, most, 0, 0);
      context.clearRect(0, 0, 1, 1);
      paintPixels(context, image, about);
    };
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    button.onclick = () => set({ image, told: example.name });
    return button;
  }

  const imageOf = ({ values, width, height }) => ({ pixels: pixelsOfValues(values, about, width, height), width, height });

  return {
    show,
    listen,
    take,
    accepts: (file) => file.type.startsWith("image/"),
    first: () => { if (about.examples.length && !about.draws) at("examples").firstElementChild.click(); },
    /** The tensors' values, or null where nothing is given. */
    feeds: () => {
      if (now.image === null || (about.draws && !now.image.pixels.some((p) => p > 0))) return null;
      const { values, dims } = valuesOf(now.image, about);
      return { [about.input.name]: { values, dims } };
    },
    /** What a link, and a comparison, keep of the input. */
    save: () => now.image && { w: now.image.width, h: now.image.height, p: Array.from(now.image.pixels, (v) => Number(v.toFixed(3))), s: rounded(now.strokes), f: at("fitted")?.checked ?? false },
    load: ({ w, h, p, s, f }) => {
      const fits = p.length === w * h * about.channels && w === (about.width ?? w) && h === (about.height ?? h);
      if (!fits) throw new Error(`the link holds a picture of ${w} × ${h}, which this model does not take`);
      if (about.draws) at("fitted").checked = f;
      set({ image: { pixels: Float32Array.from(p), width: w, height: h }, strokes: s, frame: frameOf(s, f) }, "input");
    },
    snapshot: (result, signed) => ({ ...now, result, signed }),
    showKept: (kept) => { paintInput(at("kept-input"), kept); paintHeat(at("kept-heat"), kept); },
    /** Input and explanation side by side on a canvas, for copying. */
    copy: (context, box, result, signed) => {
      [[paintInput, 0], [paintHeat, box.width / 2 + 8]].forEach(([paint, shift]) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
        Object.defineProperties(canvas, { clientWidth: { value: box.width / 2 - 8 }, clientHeight: { value: box.width / 2 - 8 } });
        paint(canvas, { ...now, result, signed });
        context.drawImage(canvas, box.x + shift, box.y, canvas.width / devicePixelRatio, canvas.height / devicePixelRatio);
      });
      return box.width / 2;
    },
  };
}

const rounded = (strokes) => strokes.map((stroke) => stroke.map((point) => point.map((v) => Number(v.toFixed(3)))));
