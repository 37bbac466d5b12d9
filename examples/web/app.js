// The page: strokes in, prediction and relevance out, at every move of the pen.
import * as ort from "./ort/ort.wasm.min.mjs";
import { SIDE, frameOf, framed, pixelsOf } from "./digit.js";
import { ExplainedModel } from "./explained.js";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // several threads need headers that a static host does not send
ort.env.logLevel = "error";

const at = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const state = {
  methods: [], wanted: null, method: null, model: null, models: new Map(), // to choose from, chosen, in use; all that are loaded
  strokes: [], pixels: new Float32Array(SIDE * SIDE), sample: null, // the drawing, or a picture taken from the test set
  target: -1, logits: null, relevance: null, milliseconds: 0, runs: 0, busy: false,
};
window.onnxplain = state; // for the console, and for the tests

// -- running ---------------------------------------------------------------------------------------------------------

let again = false;

/** Predict and explain what is on the pad. While a run is under way, the latest drawing waits for the next. */
async function explain() {
  if (state.busy) return void (again = true);
  state.busy = true;
  try {
    do {
      again = false;
      await explainOnce();
      state.runs += 1;
      show();
    } while (again);
  } finally {
    state.busy = false;
  }
}

async function explainOnce() {
  const { model, pixels, target } = state;
  if (!model || !pixels.some((p) => p > 0)) return void Object.assign(state, { logits: null, relevance: null });
  const start = performance.now();
  const image = new ort.Tensor("float32", pixels, [1, 1, SIDE, SIDE]);
  const results = await model.run({ image }, [target]);
  const time = performance.now() - start;
  const [attribution] = Object.keys(model.about.attributions);
  state.milliseconds = state.milliseconds ? 0.8 * state.milliseconds + 0.2 * time : time;
  Object.assign(state, { logits: results[model.about.output].data, relevance: results[attribution].data });
}

/** Load a method's file and change to it; until then the one before goes on. */
async function choose(method) {
  state.wanted = method;
  for (const button of at("methods").children) button.setAttribute("aria-checked", button.value === method.name);
  at("method").value = method.name;
  if (!state.models.has(method.name)) {
    const answer = await fetch(method.file);
    if (!answer.ok) throw new Error(`${method.file}: ${answer.status} ${answer.statusText}`);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    state.models.set(method.name, { model: await ExplainedModel.load(ort, bytes, { logSeverityLevel: 3 }), size: bytes.length });
  }
  if (state.wanted !== method) return; // another one was chosen meanwhile
  Object.assign(state, { method, model: state.models.get(method.name).model, milliseconds: 0 });
  await explain();
}

// -- showing ---------------------------------------------------------------------------------------------------------

function show() {
  const { logits, method } = state;
  document.body.classList.toggle("drawn", state.strokes.length > 0 || state.sample !== null);
  const top = logits ? logits.indexOf(Math.max(...logits)) : -1;
  const explained = state.target < 0 ? top : state.target;
  const powers = logits ? Array.from(logits, (z) => Math.exp(z - logits[top])) : [];
  const sum = powers.reduce((a, b) => a + b, 0);
  const rows = at("chances").children;
  for (let i = 0; i < rows.length; ++i) {
    const chance = logits ? powers[i] / sum : 0;
    rows[i].setAttribute("aria-checked", i === explained);
    rows[i].querySelector("i").style.width = `${100 * chance}%`;
    rows[i].querySelector("span").textContent = logits ? percent(chance) : "";
    rows[i].disabled = !logits;
  }
  at("top").disabled = explained === top;
  at("top").textContent = `Back to the ${top}`;
  at("digit").textContent = logits ? top : "–";
  at("sentence").innerHTML = !logits ? "Draw, or take a digit of the test set."
    : explained === top ? `<b>${percent(powers[top] / sum)}</b> sure. The colours show what the <b>${top}</b> rests on.`
    : `The colours show what speaks for the <b>${explained}</b> instead.`;
  const compared = method.compares ? " Compared with an empty picture." : "";
  at("about").innerHTML = `<b>${method.name}</b>: ${method.formula}. ${method.summary}.${compared}`;
  const { size } = state.models.get(method.name) ?? { size: 0 };
  const time = logits ? ` · ${state.milliseconds.toFixed(1)} ms for prediction and explanation` : "";
  at("facts").innerHTML = `<a href="${method.file}" download>${method.file.split("/").pop()}</a>, ${Math.round(size / 1000)} kB${time}`;
  drawPad();
  drawHeat();
}

const percent = (p) => (p > 0.995 ? ">99 %" : p < 0.005 ? "<1 %" : `${Math.round(100 * p)} %`);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A canvas cleared for drawing in coordinates 0..1. */
function cleared(canvas) {
  const side = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.setTransform(side, 0, 0, side, 0, 0);
  context.clearRect(0, 0, 1, 1);
  return context;
}

function trace(context, strokes, width, style) {
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

const WHOLE = { x: 0, y: 0, side: 1 };

function drawPad() {
  const context = cleared(at("pad"));
  const frame = state.sample ? WHOLE : frameOf(state.strokes);
  const under = !at("heat").clientWidth && state.relevance; // on a phone the relevance has no picture of its own
  if (under) drawCells(context, frame);
  if (state.sample) return under ? drawDots(context) : drawPixels(context, state.pixels);
  if (frame && !under) { // what the model is shown of the pad
    context.strokeStyle = colour("rim");
    context.lineWidth = 1.2 / at("pad").clientWidth;
    context.setLineDash([0.012, 0.012]);
    context.strokeRect(frame.x, frame.y, frame.side, frame.side);
    context.setLineDash([]);
  }
  context.globalAlpha = under ? 0.16 : 1;
  trace(context, state.strokes, 0.066, colour("ink"));
  context.globalAlpha = 1;
  if (under) trace(context, state.strokes, 0.011, colour("ink"));
}

function drawHeat() {
  const { relevance, method, strokes } = state;
  const context = cleared(at("heat"));
  drawCells(context, WHOLE);
  if (relevance && state.sample) drawDots(context);
  else if (relevance) trace(context, framed(strokes, frameOf(strokes)), 0.011, colour("ink"));
  const rim = strongest();
  const value = rim ? rim.toPrecision(2) : "";
  at("ramp").className = method.signed ? "both" : "one";
  at("low").textContent = method.signed ? `against ${value && `−${value}`}` : "0";
  at("high").textContent = method.signed ? `for ${value && `+${value}`}` : `strong ${value}`;
  const place = rim ? relevance.findIndex((r) => Math.abs(r) === rim) : -1;
  const count = relevance ? Math.sqrt(relevance.length) : SIDE;
  at("heat").setAttribute("aria-label", rim
    ? `Relevance of ${count} by ${count} cells; the strongest is in row ${Math.floor(place / count) + 1}, column ${(place % count) + 1}`
    : "Relevance of each cell: nothing drawn yet");
}

const strongest = () => (state.relevance ? Math.max(...state.relevance.map(Math.abs)) : 0);

/** The relevance as cells within a frame, strongest colour for the strongest cell. */
function drawCells(context, frame) {
  const rim = strongest();
  const count = state.relevance ? Math.sqrt(state.relevance.length) : SIDE; // methods that explain a layer have fewer cells
  const [side, gap] = [frame.side / count, 0.0035];
  for (let i = 0; i < count * count; ++i) {
    const value = rim ? state.relevance[i] / rim : 0;
    const name = !state.method.signed ? "strength" : value > 0 ? "for" : "against";
    const corner = [frame.x + (i % count) * side + gap, frame.y + Math.floor(i / count) * side + gap];
    context.beginPath();
    context.roundRect(...corner, side - 2 * gap, side - 2 * gap, 0.012);
    for (const style of [colour("soft"), `rgb(${colour(name)} / ${Math.abs(value) ** 0.8})`]) {
      context.fillStyle = style;
      context.fill();
    }
  }
}

/** The ink of a picture of the test set, as a dot in each cell. */
function drawDots(context) {
  context.fillStyle = colour("ink");
  state.pixels.forEach((ink, i) => {
    context.beginPath();
    context.arc(((i % SIDE) + 0.5) / SIDE, (Math.floor(i / SIDE) + 0.5) / SIDE, 0.021 * Math.sqrt(ink), 0, 7);
    context.fill();
  });
}

function drawPixels(context, pixels) {
  context.fillStyle = colour("ink");
  pixels.forEach((ink, i) => {
    context.globalAlpha = ink;
    context.fillRect((i % SIDE) / SIDE, Math.floor(i / SIDE) / SIDE, 1 / SIDE + 1e-3, 1 / SIDE + 1e-3);
  });
  context.globalAlpha = 1;
}

// -- drawing ---------------------------------------------------------------------------------------------------------

function set(changes) {
  Object.assign(state, changes);
  state.pixels = state.sample ? Float32Array.from(state.sample) : pixelsOf(state.strokes);
  if (!state.pixels.some((p) => p > 0)) state.logits = state.relevance = null;
  drawPad();
  explain().catch(fail);
}

function listen() {
  const pad = at("pad");
  const point = (event) => {
    const box = pad.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map((v) => Math.min(Math.max(v / box.width, 0.02), 0.98));
  };
  let drawing = null; // the pointer that draws: a second finger does nothing
  pad.addEventListener("pointerdown", (event) => {
    if (drawing !== null || event.button > 0) return;
    drawing = event.pointerId;
    pad.setPointerCapture(drawing);
    set({ strokes: [...(state.sample ? [] : state.strokes), [point(event)]], sample: null, ...(state.sample && { target: -1 }) });
  });
  pad.addEventListener("pointermove", (event) => {
    if (event.pointerId !== drawing) return;
    const stroke = state.strokes.at(-1);
    for (const step of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
      const [next, last] = [point(step), stroke.at(-1)];
      if (Math.hypot(next[0] - last[0], next[1] - last[1]) > 0.006) stroke.push(next);
    }
    set({});
  });
  const lift = (event) => { if (event.pointerId === drawing) drawing = null; };
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) pad.addEventListener(name, lift);
  at("clear").addEventListener("click", () => set({ strokes: [], sample: null, target: -1 }));
  at("top").addEventListener("click", () => set({ target: -1 }));
  at("pad").addEventListener("keydown", (event) => { // digits of the test set from the keyboard
    if (/^\d$/.test(event.key)) at("samples").children[event.key]?.click();
    if (["Escape", "Delete", "Backspace"].includes(event.key)) at("clear").click();
  });
  dark.addEventListener("change", () => { samples(); show(); });
  new ResizeObserver(() => { drawPad(); drawHeat(); }).observe(pad);
}

/** A group of radio buttons: arrows move through it. */
function group(element, entries) {
  element.replaceChildren(...entries.map(({ value, html, label, choose }) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", value, innerHTML: html, onclick: choose });
    button.setAttribute("role", "radio");
    if (label) button.setAttribute("aria-label", label);
    return button;
  }));
  element.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...element.children];
    const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
}

function samples() {
  at("samples").replaceChildren(...state.samples.map(({ label, pixels }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `A ${label} of the test set`);
    const picture = document.createElement("canvas");
    picture.width = picture.height = SIDE;
    const context = picture.getContext("2d");
    context.setTransform(SIDE, 0, 0, SIDE, 0, 0);
    context.imageSmoothingEnabled = false;
    drawPixels(context, pixels);
    button.append(picture);
    button.onclick = () => set({ strokes: [], sample: pixels, target: -1 });
    return button;
  }));
}

async function start() {
  const made = await (await fetch("site.json")).json();
  Object.assign(state, made);
  group(at("methods"), state.methods.map((m) => ({ value: m.name, html: m.name, label: `${m.name}: ${m.summary}`, choose: () => choose(m).catch(fail) })));
  at("method").replaceChildren(...state.methods.map((m) => new Option(m.name, m.name)));
  at("method").onchange = () => choose(state.methods.find((m) => m.name === at("method").value)).catch(fail);
  group(at("chances"), Array.from({ length: 10 }, (_, i) => ({
    value: i, label: `Explain the ${i}`, html: `<b>${i}</b><div><i></i></div><span></span>`, choose: () => set({ target: i }),
  })));
  samples();
  listen();
  const wanted = decodeURIComponent(location.hash.slice(1));
  const first = state.methods.find((m) => m.name === wanted) ?? state.methods.find((m) => m.first) ?? state.methods[0];
  state.method = first;
  show();
  await choose(first);
  document.body.dataset.ready = "yes";
}

function fail(error) {
  at("sentence").textContent = `This browser could not run it: ${error.message}`;
  at("sentence").className = "failed";
}

start().catch(fail);
