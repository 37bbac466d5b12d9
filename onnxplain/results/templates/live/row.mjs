// The page's input where the model takes a row of a table: pasted, opened, and changed by fields and sliders.
import { paintBars } from "./canvas.mjs";
import { rowsOf, valueOf } from "./csv.mjs";
import { told } from "./numbers.mjs";

const at = (id) => document.getElementById(id);
const STEPS = 200;

/**
 * The input of a page for rows.
 * @param about what the page says of the input: its fields, each with the input and the column it stands for
 * @param {() => void} changed called when there is another input
 * @param {(error: Error) => void} fail called with what is wrong with what was given
 */
export function rowInput(about, changed, fail) {
  const { fields } = about;
  const now = { rows: about.rows, at: 0, values: null, kept: null };
  const parts = fields.map(fieldParts);
  const ranges = () => fields.map((field, i) => rangeOf(field, now.rows.map((row) => row[i])));

  function rangeOf(field, values) {
    if (field.type === "text") return null;
    const known = values.map(Number).filter(Number.isFinite);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    if (known.length < 2 || !(high > low)) return null;
    const whole = field.type === "integer" || known.every(Number.isInteger);
    return { low, high, step: whole ? 1 : (high - low) / STEPS };
  }

  /** Take values, and show them in all fields but the one that a person is editing. */
  function set(values, except = null, what = "input") {
    now.values = values;
    fields.forEach((field, i) => {
      const { text, slider } = parts[i];
      const value = values?.[i] ?? "";
      if (text !== except) text.value = Number.isNaN(value) ? "nan" : String(value);
      if (slider !== except && Number.isFinite(value)) slider.value = value;
      text.removeAttribute("aria-invalid");
    });
    changed(what);
  }

  function take(rows, words) {
    now.rows = rows;
    at("row-choice").hidden = rows.length < 2;
    at("row").replaceChildren(...rows.map((_, i) => new Option(`${i + 1} of ${rows.length}`, i)));
    ranges().forEach((range, i) => {
      const { slider, text } = parts[i];
      slider.hidden = range === null;
      if (range) Object.assign(slider, { min: range.low, max: range.high, step: range.step });
      if (fields[i].type === "text") choices(text, rows.map((row) => row[i]));
    });
    at("source").textContent = words;
    set(rows[(now.at = 0)].slice(), null, "new");
  }

  function choices(text, values) {
    const list = document.getElementById(text.getAttribute("list"));
    list.replaceChildren(...[...new Set(values)].sort().map((value) => new Option(value)));
  }

  /** One column: its name, a field, a slider, and the bar of its relevance. */
  function fieldParts(field, i) {
    const row = Object.assign(document.createElement("div"), { className: "field" });
    const name = Object.assign(document.createElement("label"), { htmlFor: `field-${i}`, textContent: field.label, title: field.label });
    const text = Object.assign(document.createElement("input"), { id: `field-${i}`, type: "text", autocomplete: "off", spellcheck: false });
    const slider = Object.assign(document.createElement("input"), { type: "range", hidden: true });
    slider.setAttribute("aria-label", `${field.label}, slider`);
    const list = Object.assign(document.createElement("datalist"), { id: `choices-${i}` });
    if (field.type === "text") text.setAttribute("list", list.id);
    else text.inputMode = "decimal";
    const bar = Object.assign(document.createElement("span"), { className: "bar", innerHTML: "<i></i><b></b>" });
    bar.setAttribute("aria-hidden", "true");
    const value = Object.assign(document.createElement("span"), { className: "value number" });
    text.addEventListener("input", () => edited(i, text));
    slider.addEventListener("input", () => {
      const values = started();
      values[i] = Number(slider.value);
      set(values, slider);
    });
    row.append(name, text, slider, list, bar, value);
    return { row, text, slider, bar, value };
  }

  const started = () => (now.values ?? fields.map(() => null)).slice(); // null: not given; NaN: said to be missing

  function edited(i, text) {
    const values = started();
    try {
      values[i] = text.value.trim() === "" ? null : valueOf(text.value, fields[i], `column '${fields[i].label}'`);
    } catch (error) {
      text.setAttribute("aria-invalid", "true");
      return fail(error);
    }
    set(values, text);
  }

  /** The relevance of every field, of all explained inputs. */
  function relevanceOf({ attributions }) {
    return fields.map((field) => {
      const found = Object.values(attributions).find((a) => a.explains === field.input);
      return found ? found.values[found.values.length > 1 ? field.column : 0] : null;
    });
  }

  function show(result, signed) {
    const relevance = result ? relevanceOf(result) : fields.map(() => null);
    const sizes = [...relevance, ...(now.kept?.relevance ?? [])].map((r) => Math.abs(r ?? 0)).filter(Number.isFinite);
    const rim = Math.max(...sizes, 0);
    const share = (r) => (rim && r !== null ? (100 * Math.abs(r)) / rim : 0);
    parts.forEach(({ row, bar, value, slider, text }, i) => {
      const r = relevance[i];
      bar.className = `bar ${!signed ? "one" : r < 0 ? "minus" : "plus"}`;
      bar.firstElementChild.style.setProperty("--share", `${share(r)}%`);
      const before = now.kept?.relevance[i] ?? null;
      bar.lastElementChild.className = before === null ? "" : before < 0 ? "minus" : "plus";
      bar.lastElementChild.style.setProperty("--share", `${share(before)}%`);
      value.textContent = r === null ? "" : `${signed && r > 0 ? "+" : ""}${told(r)}`;
      row.style.order = at("order").value === "strength" ? -Math.round(1e4 * share(r)) : i;
      text.setAttribute("aria-describedby", (value.id = `relevance-${i}`));
      if (now.values && typeof now.values[i] === "number") slider.setAttribute("aria-valuetext", told(now.values[i]));
    });
    at("ramp").className = signed ? "both" : "one";
    at("low").textContent = !result ? "" : signed ? `against −${told(rim)}` : "0";
    at("high").textContent = !result ? "" : `${signed ? "for +" : "strong "}${told(rim)}`;
  }

  function listen() {
    document.getElementById("fields").replaceChildren(...parts.map((p) => p.row));
    at("order").addEventListener("change", () => changed("size"));
    at("row").addEventListener("change", () => set(now.rows[(now.at = Number(at("row").value))].slice(), null, "new"));
    at("clear").addEventListener("click", () => set(null, null, "new"));
    at("file").addEventListener("change", () => { const [file] = at("file").files; at("file").value = ""; if (file) open(file).catch(fail); });
    at("take").addEventListener("click", () => { try { paste(at("pasted").value, "pasted"); } catch (error) { fail(error); } });
    if (!about.rows.length) at("paste").open = true;
  }

  function paste(text, from) {
    const rows = rowsOf(text, fields);
    take(rows, `${rows.length === 1 ? "one row" : `${rows.length} rows`}, ${from}`);
  }

  const open = async (file) => paste(await file.text(), file.name);

  return {
    show,
    listen,
    take: open,
    paste: (text) => paste(text, "pasted"),
    accepts: (file) => /\.(csv|tsv|txt)$/i.test(file.name),
    first: () => { if (about.rows.length) take(about.rows, about.rows.length === 1 ? "an example" : `${about.rows.length} examples`); },
    /** The tensors' values, or null as long as a field is empty. */
    feeds: () => {
      if (now.values === null || now.values.includes(null)) return null;
      const made = {};
      for (const input of about.inputs) {
        const values = fields.flatMap((f, i) => (f.input === input.name ? [now.values[i]] : []));
        made[input.name] = { values, dims: input.dims };
      }
      return made;
    },
    invitation: () => {
      const given = now.values?.filter((v) => v !== null).length ?? 0;
      return given ? `${given} of ${fields.length} fields are filled in; type nan where a number is missing.` : about.invitation;
    },
    save: () => now.values && now.values.map((v) => (Number.isNaN(v) ? "nan" : v)),
    load: (values) => {
      if (values.length !== fields.length) throw new Error(`the link holds ${values.length} values, the model takes ${fields.length}`);
      const made = values.map((v, i) => (v === "nan" && fields[i].type !== "text" ? NaN : v));
      if (now.rows.length) set(made);
      else take([made], "from the link");
    },
    snapshot: (result) => ({ values: now.values.slice(), relevance: relevanceOf(result) }),
    showKept: (kept) => { now.kept = kept; },
    /** Columns that were changed since a snapshot, for the table that compares. */
    changes: (kept) => fields.flatMap((f, i) => (kept.values[i] === now.values?.[i] || (Number.isNaN(kept.values[i]) && Number.isNaN(now.values?.[i])) ? [] : [[f.label, kept.values[i], now.values?.[i]]])),
    copy: (context, box, result, signed) => {
      const relevance = relevanceOf(result);
      const most = fields.map((f, i) => ({ label: f.label, shown: typeof now.values[i] === "number" ? told(now.values[i]) : now.values[i], relevance: relevance[i] ?? 0, signed }));
      const strongest = most.sort((a, b) => Math.abs(b.relevance) - Math.abs(a.relevance)).slice(0, 15);
      const height = strongest.length * 26;
      paintBars(context, strongest, { ...box, height });
      return height;
    },
  };
}
