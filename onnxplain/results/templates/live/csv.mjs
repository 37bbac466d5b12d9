// Rows of a table from pasted text or a file, read as `onnxplain explain` reads a .csv.

const MISSING = ["", "nan", "na", "n/a", "null", "none"];

export const isMissing = (cell) => MISSING.includes(cell.trim().toLowerCase());

/** The cells of a text, row by row. Cells with the delimiter in them stand in double quotes. */
export function cellsOf(text) {
  const first = text.split("\n", 1)[0];
  const delimiter = [",", ";", "\t"].find((d) => first.includes(d)) ?? ",";
  const rows = [[]];
  let [cell, quoted] = ["", false];
  const end = () => { rows.at(-1).push(cell.trim()); cell = ""; };
  for (let i = 0; i < text.length; ++i) {
    const c = text[i];
    if (quoted && c === '"' && text[i + 1] === '"') { cell += c; ++i; }
    else if (c === '"') quoted = !quoted;
    else if (!quoted && c === delimiter) end();
    else if (!quoted && c === "\n") { end(); rows.push([]); }
    else if (c !== "\r") cell += c;
  }
  end();
  return rows.filter((row) => row.some((c) => c !== ""));
}

/**
 * The rows of a text for the columns of a model.
 * @param {string} text a row, or several with or without a line of names above
 * @param {{label: string, type: string}[]} fields the model's columns
 * @returns {(number|string)[][]} one list of values per row, in the order of the columns
 */
export function rowsOf(text, fields) {
  const rows = cellsOf(text);
  if (!rows.length) throw new Error("there is nothing in the text");
  const numeric = fields.some((f) => f.type !== "text");
  const named = fields.every((f) => rows[0].includes(f.label)) || (numeric && rows.length > 1 && !rows[0].some((c) => c !== "" && Number.isFinite(Number(c))));
  const names = named ? rows.shift() : null;
  if (!rows.length) throw new Error("the text holds the names of columns and no row");
  const known = names !== null && fields.every((f) => names.includes(f.label));
  const places = fields.map((f, i) => (known ? names.indexOf(f.label) : i));
  const width = known ? names.length : fields.length;
  return rows.map((row, line) => {
    if (row.length !== width) {
      const lacking = names && !known ? `; column '${fields.find((f) => !names.includes(f.label)).label}' is not among its names` : "";
      throw new Error(`row ${line + 1} has ${row.length} values, the model takes ${width}${lacking}`);
    }
    return fields.map((field, i) => valueOf(row[places[i]], field, `row ${line + 1}, column '${field.label}'`));
  });
}

/** The value that a cell or a field holds; NaN where a number is missing. */
export function valueOf(text, field, where) {
  if (field.type === "text") return text;
  const whole = field.type === "integer";
  if (isMissing(text) && !whole) return NaN;
  const value = Number(text);
  if (isMissing(text) || !Number.isFinite(value) || (whole && !Number.isInteger(value))) {
    throw new Error(`${where}: '${text}' is no ${whole ? "whole number" : "number"}`);
  }
  return value;
}
