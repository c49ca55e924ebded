"use strict";
// What is told of a layer beside a diagram: settings, shapes, amounts, pictures of its weights.

const grouped = (number) => number.toLocaleString("en-US");

function shortNumber(value) {
  for (const [limit, unit] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]])
    if (value >= limit) return Number((value / limit).toPrecision(3)) + unit;
  return String(value);
}

const shortBytes = (size) => (size >= 1000 ? shortNumber(size) + "B" : size + " bytes");

// One row of what is told in each phase; where both are equal, it is told once.
function factRow(title, values) {
  const known = values.filter((value) => value !== null && value !== undefined && value !== "");
  if (!known.length) return null;
  const cells = values.every((value) => value === values[0])
    ? [make("td", { colspan: values.length }, values[0])]
    : values.map((value) => make("td", {}, value || "–"));
  return make("tr", {}, make("th", { scope: "row" }, title), ...cells);
}

// facts: what is known of a layer, by phase.
function factTable(facts) {
  const phases = Object.keys(facts);
  const told = (write) => phases.map((phase) => write(facts[phase]));
  const shapes = (list) => list.map(([blob, shape]) => `${blob} ${shape || "?"}`).join("\n");
  const rows = [
    factRow("in", told((one) => shapes(one.in))),
    factRow("out", told((one) => shapes(one.out))),
    factRow("parameters", told((one) => one.parameters && one.parameters.length
      ? `${grouped(one.size)}: ${one.parameters.join(", ")}` : "")),
    factRow("multiply-adds", told((one) => (one.macs ? grouped(one.macs) : ""))),
    factRow("memory", told((one) => (one.bytes === null ? "" : one.bytes ? shortBytes(one.bytes) + " of blobs"
      : "in place"))),
    factRow("receptive field", told((one) => one.field)),
  ];
  const head = make("tr", {}, make("td", {}), ...phases.map((phase) => make("th", { scope: "col" }, phase)));
  return make("table", { class: "facts" }, make("thead", {}, head), make("tbody", {}, ...rows.filter(Boolean)));
}

// A chart of bars; channels come as bytes between the least and the largest value.
function chart(data) {
  const bytes = data.bytes ? Array.from(atob(data.bytes), (letter) => letter.charCodeAt(0)) : null;
  const [low, high] = [data.low, data.high];
  const values = bytes ? bytes.map((byte) => low + (byte / 255) * (high - low)) : data.counts;
  const [width, height] = [280, 70];
  const most = Math.max(...values, 0);
  const least = Math.min(...values, 0);
  const y = (value) => height - ((value - least) / (most - least || 1)) * height;
  const step = width / values.length;
  const path = values.map((value, i) => `M${((i + 0.5) * step).toFixed(1)},${y(0).toFixed(1)}V${y(value).toFixed(1)}`);
  const line = make("svg:path", { d: path.join(""), "stroke-width": Math.max(step * 0.85, 0.5) });
  const axis = make("svg:path", { d: `M0,${y(0)}H${width}`, class: "axis" });
  const svg = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img",
    "aria-label": data.title }, line, axis);
  const note = make("span", { class: "soft" }, data.told);
  svg.addEventListener("pointermove", (event) => {
    const { left, width: wide } = svg.getBoundingClientRect();
    const i = Math.min(Math.max(Math.floor(((event.clientX - left) / wide) * values.length), 0), values.length - 1);
    const place = low + ((high - low) * i) / values.length;
    note.textContent = bytes ? `channel ${i}: ${values[i].toPrecision(3)}`
      : `from ${place.toPrecision(3)} on: ${grouped(values[i])}`;
  });
  svg.addEventListener("pointerleave", () => (note.textContent = data.told));
  return make("figure", {}, make("figcaption", {}, data.title), svg, note);
}

// Everything about a layer; facts: by phase; others: what belongs beside it.
function layerPanel(layer, facts, ...others) {
  const parts = [
    make("h2", {}, layer.name),
    make("p", { class: "soft" }, `${layer.type}, ${layer.place}`),
    ...others,
    Object.keys(facts).length ? factTable(facts) : null,
    layer.time ? make("p", { class: "time" }, layer.time) : null,
    ...(layer.charts || []).map(chart),
    layer.lines ? null : make("pre", {}, layer.text),
  ];
  return parts.filter(Boolean);
}
