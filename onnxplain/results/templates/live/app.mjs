// The page: an input in, prediction and explanation out, at every change.
import { colour, onScheme } from "./canvas.mjs";
import { ExplainedModel } from "./explained.mjs";
import { read, written } from "./link.mjs";
import { percent, plain, sharesOf, tensorOf, told } from "./numbers.mjs";
import { pictureInput } from "./picture.mjs";
import { rowInput } from "./row.mjs";
import { fromBase64, part } from "./unpack.mjs";

const at = (id) => document.getElementById(id);
const about = readAbout();
const state = {
  about, file: null, wanted: null, model: null, models: new Map(), // the file in use, the one chosen, all that are loaded
  target: -1, feeds: null, outputs: null, result: null, kept: null, milliseconds: 0, runs: 0, busy: false,
};
window.onnxplain = state; // for the console, and for the tests
const ALL_SHOWN = 12; // outputs of so many elements are shown whole, in their order; of more, the highest
const SOME = 8;

const input = (about.kind === "picture" ? pictureInput : rowInput)(about, changed, fail);

/** What the page says of itself, with examples as numbers. */
function readAbout() {
  const found = JSON.parse(at("about").textContent);
  for (const example of found.examples ?? []) example.values = new Float32Array(fromBase64(example.values).buffer);
  for (const row of found.rows ?? []) row.forEach((value, i) => { row[i] = value ?? NaN; });
  return found;
}

// -- running ---------------------------------------------------------------------------------------------------------

let again = false;

/** The input was changed, is a new one, or what is shown has another size. */
function changed(what = "input") {
  if (what === "size") return show();
  if (what === "new") state.target = -1;
  at("done").textContent = "";
  explain().catch(fail);
}

/** Predict and explain. While a run is under way, the latest input waits for the next. */
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
  const { model, file, target } = state;
  const feeds = input.feeds();
  if (!model || !feeds) return void Object.assign(state, { result: null, feeds: null, outputs: null });
  const start = performance.now();
  const tensors = Object.fromEntries(about.inputs.map((i) => [i.name, tensorOf(ort, i, feeds[i.name].values, feeds[i.name].dims)]));
  const outputs = await model.run(tensors, [target]);
  const time = performance.now() - start;
  state.milliseconds = state.milliseconds ? 0.8 * state.milliseconds + 0.2 * time : time;
  Object.assign(state, { feeds: tensors, outputs, result: resultOf(outputs, file) });
}

/** The first sample's scores and attributions. */
function resultOf(outputs, file) {
  const [scores, dims] = ofFirst(outputs[about.score.name], about.score.count);
  const shares = about.score.activation === null ? sharesOf(scores, dims.length + (about.score.count === null ? 1 : 0), file.activation) : activated(scores);
  const top = scores.reduce((best, v, i) => (v > scores[best] ? i : best), 0);
  const target = file.target === "input" ? (state.target < 0 ? top : state.target) : file.target === "top" ? top : file.fixed;
  const attributions = {};
  for (const entry of file.attributions) {
    const [values, dims] = ofFirst(outputs[entry.name], entry.count);
    attributions[entry.name] = { values, dims, explains: entry.explains, isMap: entry.isMap };
  }
  return { scores, shares, dims, top, target, attributions };
}

/** What the logits of an output that JavaScript cannot read stand for. */
function activated(scores) {
  const powers = Array.from(scores, (s) => (about.score.activation === "Sigmoid" ? 1 / (1 + Math.exp(-s)) : Math.exp(s - Math.max(...scores))));
  const sum = about.score.activation === "Sigmoid" ? 1 : powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

/** Of a tensor that holds several samples, or one, the numbers of the first; and its extents. */
function ofFirst(tensor, count) {
  const values = plain(tensor);
  return [count > 1 ? values.subarray(0, values.length / count) : values, tensor.dims];
}

/** Load a file and change to it; until then the one before goes on. */
async function choose(file) {
  state.wanted = file;
  for (const button of at("methods").children) mark(button, button.value === file.name);
  at("method").value = file.name;
  if (!state.models.has(file.name)) {
    const bytes = await part(file.name);
    state.models.set(file.name, { bytes, model: await ExplainedModel.load(ort, bytes, { logSeverityLevel: 3 }) });
  }
  if (state.wanted !== file) return; // another one was chosen meanwhile
  Object.assign(state, { file, model: state.models.get(file.name).model, milliseconds: 0 });
  await explain();
}

// -- showing ---------------------------------------------------------------------------------------------------------

const nameOf = (target) => {
  if (target === null) return state.file.target;
  const extents = about.score.extents;
  if (extents.length > 1) return extents.map((_, i) => Math.floor(target / extents.slice(i + 1).reduce((a, b) => a * b, 1)) % extents[i]).join(",");
  return about.labels[target] ?? (state.result?.scores.length === 1 ? about.score.title : String(target));
};
const valueOf = ({ shares, scores }, i) => (shares ? percent(shares[i]) : told(scores[i]));
const mark = (button, on) => { button.setAttribute("aria-checked", on); button.tabIndex = on ? 0 : -1; };
const text = (element, ...pieces) => element.replaceChildren(...pieces.map((p) => (typeof p === "string" ? p : Object.assign(document.createElement("b"), { textContent: p[0] }))));

function show() {
  const { result, file } = state;
  if (!file) return;
  if (result && about.score.extents.length === 0) about.score.extents = result.dims.slice(about.score.count === null ? 0 : 1);
  for (const id of ["keep", "copy", "link"]) at(id).disabled = !result;
  showVerdict();
  showChances();
  input.show(result, file.signed);
  const { summary, formula, name } = file;
  const { source } = file;
  text(at("about-method"), [name], `: ${formula}. ${summary}.${file.note} (${source})`);
  showFacts();
  showKept();
}

function showVerdict() {
  const { result, file } = state;
  at("top-class").textContent = !result ? "–" : result.scores.length === 1 ? told(result.shares?.[0] ?? result.scores[0]) : nameOf(result.top);
  at("top-class").classList.toggle("long", at("top-class").textContent.length > 4);
  at("top").disabled = !result || result.target === result.top || file.target !== "input";
  at("top").textContent = `Back to ${result ? nameOf(result.top) : "the prediction"}`;
  const failed = at("sentence").classList.contains("failed");
  if (result) at("sentence").classList.remove("failed");
  if (!result && failed) return;
  if (!result) return text(at("sentence"), input.invitation?.() ?? about.invitation);
  if (result.scores.length === 1) return text(at("sentence"), "The colours show what raises ", [about.score.title], " and what lowers it.");
  const sure = [...(result.shares ? [[percent(result.shares[result.top])], " sure. "] : [])];
  if (result.target === result.top) return text(at("sentence"), ...sure, "The colours show what ", [nameOf(result.top)], " rests on.");
  text(at("sentence"), "The colours show what speaks for ", [nameOf(result.target)], file.target === "input" ? " instead." : ", the only target of this file.");
}

/** The elements of the output that can be explained, each a button. */
function showChances() {
  const { result, file } = state;
  const box = at("chances");
  const many = result && result.scores.length > ALL_SHOWN;
  let listed = result && result.scores.length > 1 ? Array.from(result.scores.keys()) : [];
  if (many) {
    listed.sort((a, b) => result.scores[b] - result.scores[a]);
    const wanted = result.target;
    listed = listed.slice(0, SOME);
    if (wanted !== null && !listed.includes(wanted)) listed.push(wanted);
  }
  if (!result && about.labels.length && about.labels.length <= ALL_SHOWN) listed = about.labels.map((_, i) => i);
  at("other-choice").hidden = !many || file.target !== "input";
  if (many && !at("all-targets").children.length && about.labels.length) at("all-targets").replaceChildren(...about.labels.map((l) => new Option(l)));
  while (box.children.length > listed.length) box.lastElementChild.remove();
  while (box.children.length < listed.length) {
    const button = Object.assign(document.createElement("button"), { type: "button", innerHTML: "<b></b><div><i></i></div><span></span>" });
    button.setAttribute("role", "radio");
    button.onclick = () => aim(Number(button.value));
    box.append(button);
  }
  const least = result ? Math.min(...result.scores) : 0;
  const range = result ? Math.max(...result.scores) - least : 0;
  listed.forEach((target, i) => {
    const button = box.children[i];
    const on = result ? target === result.target : i === 0;
    button.value = target;
    mark(button, on && result !== null);
    if (on) button.tabIndex = 0;
    button.disabled = !result || file.target !== "input";
    button.querySelector("b").textContent = nameOf(target);
    button.querySelector("i").style.width = `${result ? 100 * (result.shares ? result.shares[target] : range ? (result.scores[target] - least) / range : 0) : 0}%`;
    button.querySelector("span").textContent = result ? valueOf(result, target) : "";
    button.setAttribute("aria-label", `Explain ${nameOf(target)}${result ? `, ${valueOf(result, target)}` : ""}`);
  });
}

function showFacts() {
  const { file, result, milliseconds } = state;
  const loaded = state.models.get(file.name);
  if (!loaded) return;
  const link = Object.assign(document.createElement("a"), { href: "#", textContent: file.file });
  link.onclick = (event) => {
    event.preventDefault();
    save(new Blob([loaded.bytes], { type: "application/octet-stream" }), file.file);
  };
  const time = result ? ` · ${milliseconds.toFixed(1)} ms for prediction and explanation` : "";
  at("facts").replaceChildren(link, `, ${(loaded.bytes.length / 1e6).toFixed(loaded.bytes.length < 1e6 ? 2 : 1)} MB · made by onnxplain ${about.version}${time}`);
}

function aim(target) {
  state.target = target;
  explain().catch(fail);
}

// -- comparing, copying, linking ---------------------------------------------------------------------------------------

function keep() {
  const { result, file, target } = state;
  state.kept = { result, file, target, input: input.save(), view: input.snapshot(result, file.signed) };
  show();
  at("done").textContent = "Kept below. Change the input to compare.";
}

function showKept() {
  const { kept, result } = state;
  at("kept").hidden = !kept;
  if (about.kind === "row") input.showKept(kept?.view ?? null);
  if (!kept) return;
  if (about.kind === "picture") input.showKept(kept.view);
  at("kept-title").textContent = `Kept: ${kept.result.scores.length > 1 ? nameOf(kept.result.top) : about.score.title}, ${valueOf(kept.result, kept.result.top)}, by ${kept.file.name}`;
  const order = Array.from(kept.result.scores.keys()).sort((a, b) => kept.result.scores[b] - kept.result.scores[a]).slice(0, 5);
  if (result && !order.includes(result.top)) order.push(result.top);
  const lines = [["", "kept", "now"], ...order.map((i) => [nameOf(i), valueOf(kept.result, i), result ? valueOf(result, i) : ""])];
  const shown = (v) => (typeof v === "number" ? (Number.isNaN(v) ? "missing" : told(v)) : String(v ?? ""));
  if (input.changes) lines.push(...input.changes(kept.view).map(([label, before, after]) => [label, shown(before), shown(after)]));
  at("kept-table").replaceChildren(...lines.map((cells, i) => {
    const row = document.createElement("tr");
    row.append(...cells.map((c, j) => Object.assign(document.createElement(i && j ? "td" : "th"), { textContent: c, scope: i ? "row" : "col" })));
    return row;
  }));
}

/** The prediction and its explanation as one picture. */
function composed() {
  const { result, file } = state;
  const [width, margin, head] = [760, 24, 64];
  const ratio = Math.max(devicePixelRatio, 2);
  const canvas = Object.assign(document.createElement("canvas"), { width: width * ratio, height: 1200 * ratio });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.fillStyle = colour("sheet");
  context.fillRect(0, 0, width, 1200);
  const height = input.copy(context, { x: margin, y: margin + head, width: width - 2 * margin }, result, file.signed);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  Object.assign(context, { textAlign: "left", textBaseline: "alphabetic", fillStyle: colour("ink"), font: "600 20px system-ui, sans-serif" });
  const what = result.scores.length > 1 ? `${nameOf(result.top)}${result.shares ? `, ${percent(result.shares[result.top])}` : ""}` : `${about.score.title}: ${valueOf(result, 0)}`;
  context.fillText(what, margin, margin + 18, width - 2 * margin);
  Object.assign(context, { fillStyle: colour("quiet"), font: "14px system-ui, sans-serif" });
  const aimed = result.target === result.top || result.scores.length === 1 ? "" : ` What speaks for ${nameOf(result.target)} instead.`;
  context.fillText(`${about.title} · ${file.name}.${aimed}`, margin, margin + 42, width - 2 * margin);
  const cut = Object.assign(document.createElement("canvas"), { width: canvas.width, height: Math.ceil((height + head + 2 * margin) * ratio) });
  cut.getContext("2d").drawImage(canvas, 0, 0);
  return new Promise((done) => cut.toBlob(done, "image/png"));
}

async function copyPicture() {
  const picture = composed();
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
    at("done").textContent = "The picture is in the clipboard.";
  } catch { // a page that is not from https, or a browser that says no
    save(await picture, "explanation.png");
    at("done").textContent = "This browser does not let the page use the clipboard: the picture is saved as explanation.png.";
  }
}

async function copyLink() {
  const hash = await written(state.file.name, state.target, input.save());
  history.replaceState(null, "", `#${hash}`);
  const long = location.href.length > 8000 ? ` It has ${Math.round(location.href.length / 1000)} thousand letters; some programs cut such links.` : "";
  try {
    await navigator.clipboard.writeText(location.href);
    at("done").textContent = `The link is in the clipboard, with the input in it.${long}`;
  } catch {
    at("done").textContent = `The link is in the address bar, with the input in it.${long}`;
  }
}

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// -- starting ----------------------------------------------------------------------------------------------------------

/** A group of radio buttons: one is reached by the tabulator, arrows move through the rest. */
function arrows(element) {
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

function methods() {
  at("methods").replaceChildren(...about.files.map((file) => {
    const button = Object.assign(document.createElement("button"), { type: "button", value: file.name, textContent: file.name, title: file.summary });
    button.setAttribute("role", "radio");
    button.onclick = () => choose(file).catch(fail);
    return button;
  }));
  at("method").replaceChildren(...about.files.map((f) => new Option(f.name, f.name)));
  at("method").onchange = () => choose(fileNamed(at("method").value)).catch(fail);
  document.body.classList.toggle("one-file", about.files.length === 1);
}

const fileNamed = (name) => about.files.find((f) => f.name === name);

function listen() {
  input.listen();
  arrows(at("methods"));
  arrows(at("chances"));
  at("top").addEventListener("click", () => aim(-1));
  at("keep").addEventListener("click", keep);
  at("copy").addEventListener("click", () => copyPicture().catch(fail));
  at("link").addEventListener("click", () => copyLink().catch(fail));
  at("drop").addEventListener("click", () => { state.kept = null; show(); });
  at("back").addEventListener("click", () => { const { kept } = state; state.target = kept.target; input.load(kept.input); choose(kept.file).catch(fail); });
  at("other").addEventListener("change", () => {
    const wanted = at("other").value;
    const target = about.labels.includes(wanted) ? about.labels.indexOf(wanted) : Number(wanted);
    const exists = wanted.trim() !== "" && Number.isInteger(target) && target >= 0 && target < state.result.scores.length;
    if (!exists) return fail(new Error(`there is no '${wanted}' among the ${state.result.scores.length} that can be explained; give a name or a number`));
    aim(target);
  });
  addEventListener("hashchange", () => follow(location.hash).catch(fail));
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    give([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    if (/INPUT|TEXTAREA/.test(event.target.tagName)) return;
    const files = [...event.clipboardData.files];
    const words = event.clipboardData.getData("text");
    if (files.length) return give(files);
    if (input.paste && words) try { input.paste(words); } catch (error) { fail(error); }
  });
  onScheme(show);
}

function give(files) {
  const file = files.find(input.accepts);
  if (!file) return fail(new Error(about.kind === "picture" ? "that is no picture; take a PNG, JPEG or WebP" : "that is no table; take a .csv file"));
  state.target = -1;
  input.take(file).catch(fail);
}

/** What the part of the address after # asks for. */
async function follow(hash, first = false) {
  const wanted = await read(hash);
  if (wanted.target !== null) state.target = wanted.target;
  if (wanted.input !== null) input.load(wanted.input);
  else if (first) input.first();
  const file = fileNamed(wanted.method);
  if (wanted.method && !file) throw new Error(`this page has no file '${wanted.method}'`);
  if (file) await choose(file);
}

/** Something went wrong: said where the prediction stands, which is no longer that of the input. */
function fail(error) {
  at("sentence").textContent = error.message;
  at("sentence").classList.add("failed");
}

async function start() {
  methods();
  listen();
  state.file = about.files[0];
  show();
  await new Promise((done) => setTimeout(done)); // let the page be seen first
  const [wasm, loader] = [await part("ort-wasm"), await part("ort-loader")];
  ort.env.wasm.numThreads = 1; // several threads need headers that a static host does not send
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([loader], { type: "text/javascript" })) };
  ort.env.logLevel = "error";
  await choose(state.file);
  await follow(location.hash, true);
  document.body.dataset.ready = "yes";
}

start().catch(fail);
