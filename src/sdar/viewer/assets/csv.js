// A table as a file for spreadsheets. A cell that a spreadsheet would take for a formula gets an apostrophe.

import { el } from "./dom.js";

export function csv(rows) {
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const text = String(value);
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

// A button that hands over `rows()`, the first of them the header, as `name`.csv.
export function csvButton(name, rows) {
  return el("button.quiet.csv", { title: "save what is shown as a table", onclick: () => {
    const url = URL.createObjectURL(new Blob([csv(rows())], { type: "text/csv" }));
    el("a", { href: url, download: `${name.replace(/[^\w.-]+/g, "-")}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  } }, "CSV");
}
