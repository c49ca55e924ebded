"use strict";
// What every page has: its data, light or dark, tables that can be sorted.

function pageData() {
  const holder = document.getElementById("page-data");
  return holder ? JSON.parse(holder.textContent) : null;
}

(function () {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", function () {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : window.matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    document.dispatchEvent(new Event("themechange"));
  });

  function value(row, column, numeric) {
    const text = row.cells[column].textContent.trim();
    if (!numeric) return text.toLowerCase();
    const number = parseFloat(text.replace(/[ ,\u202f]/g, ""));
    return Number.isNaN(number) ? -Infinity : number;
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      const numeric = head.classList.contains("number");
      head.querySelector("button").addEventListener("click", function () {
        // Numbers: the largest first.
        const before = head.getAttribute("aria-sort");
        const down = before ? before === "ascending" : numeric;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = Array.from(body.rows, (row) => [value(row, column, numeric), row]);
        rows.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0) * (down ? -1 : 1));
        body.append(...rows.map((pair) => pair[1]));
      });
    });
  }
})();
