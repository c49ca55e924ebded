"use strict";
// Heat maps.

(function () {
  const { make, write, scale, frame, axes, boxOf, MARGIN } = chartParts;

  // Blue below zero, orange above it; in between what lies behind the chart.
  function colours() {
    const style = getComputedStyle(document.documentElement);
    const parsed = ["--back", "--s1", "--s0", "--bad"].map(function (name) {
      const text = style.getPropertyValue(name).trim();
      return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
    });
    return { back: parsed[0], above: parsed[1], below: parsed[2], gap: parsed[3] };
  }

  function heatMap(holder, name, spec) {
    const rows = spec.rows.length, columns = spec.x.length;
    const sizes = spec.values.flat().filter((value) => value !== null).map(Math.abs);
    const limit = spec.limit || sizes.reduce((most, size) => Math.max(most, size), 0) || 1;
    const signed = spec.values.some((row) => row.some((value) => value < 0));
    let view = null, at = [0, columns - 1];

    function colour(value, palette) {
      if (value === null) return palette.gap;
      const share = Math.min(Math.abs(value) / limit, 1), pole = value < 0 ? palette.below : palette.above;
      return palette.back.map((part, i) => Math.round(part + (pole[i] - part) * share));
    }

    function picture(width, height, valueAt) {
      const canvas = make("canvas", { width: width, height: height });
      const context = canvas.getContext("2d"), image = context.createImageData(width, height), palette = colours();
      for (let i = 0; i < width * height; i++)
        image.data.set([...colour(valueAt(Math.floor(i / width), i % width), palette), 255], 4 * i);
      context.putImageData(image, 0, 0);
      return canvas.toDataURL();
    }

    function legend(svg, box) {
      const left = box.right - 150, low = signed ? -limit : 0;
      const href = picture(60, 1, (row, column) => low + ((column + 0.5) / 60) * (limit - low));
      make("image", { href: href, x: left, y: 4, width: 150, height: 8, preserveAspectRatio: "none" }, svg);
      const ends = [["start", left, write(low)], ["end", box.right, (sizes.some((size) => size > limit) ? "≥ " : "") + write(limit)]];
      for (const [anchor, x, text] of ends) make("text", { x: x, y: 25, "text-anchor": anchor }, svg, text);
      make("text", { x: left - 8, y: 13, "text-anchor": "end" }, svg, spec.unit);
    }

    function draw(svg, width) {
      const inner = Math.min(Math.max(rows * 4, 60), 320), top = 32, box = boxOf(width, top + inner + MARGIN.bottom);
      box.top = top;
      svg.setAttribute("height", top + inner + MARGIN.bottom);
      const half = columns > 1 ? (spec.x[columns - 1] - spec.x[0]) / (columns - 1) / 2 : 0.5;
      view = { box: box, x: scale(spec.x[0] - half, spec.x[columns - 1] + half, box.left, box.right, false) };
      const atY = (row) => box.top + ((row + 0.5) / rows) * inner;
      const every = Math.max(1, Math.ceil(rows / Math.max(1, Math.floor(inner / 14))));
      const group = make("g", { class: "axes" }, svg);
      const href = picture(columns, rows, (row, column) => spec.values[row][column]);
      const size = { x: box.left, y: box.top, width: box.right - box.left, height: inner, preserveAspectRatio: "none" };
      make("image", Object.assign({ href: href, class: "cells" }, size), svg);
      for (let row = 0; row < rows; row += every) {
        // Names of a net often differ in their last letters alone.
        const whole = spec.rows[row], letters = Array.from(whole);
        const text = letters.length > 8 ? letters.slice(0, 4).join("") + "…" + letters.slice(-3).join("") : whole;
        make("text", { x: box.left - 6, y: atY(row) + 4, "text-anchor": "end" }, group, text);
      }
      axes(svg, spec, box, view.x, atY, []);
      legend(make("g", { class: "axes" }, svg), box);
      view.cell = make("rect", { class: "cell", visibility: "hidden" }, svg);
    }

    const parts = frame(holder, spec, draw);
    document.addEventListener("themechange", parts.again);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", parts.again);

    function tell(row, column) {
      at = [Math.min(Math.max(row, 0), rows - 1), Math.min(Math.max(column, 0), columns - 1)];
      const value = spec.values[at[0]][at[1]];
      const wide = (view.box.right - view.box.left) / columns, high = (view.box.bottom - view.box.top) / rows;
      const place = { x: view.box.left + at[1] * wide, y: view.box.top + at[0] * high, width: wide, height: high };
      for (const key of Object.keys(place)) view.cell.setAttribute(key, place[key]);
      view.cell.setAttribute("visibility", "visible");
      const where = spec.xLabel + " " + write(spec.x[at[1]]) + ", " + spec.yLabel + " " + spec.rows[at[0]];
      parts.readout.textContent = where + ": " + write(value) + (value === null ? "" : " " + spec.unit);
    }

    parts.svg.addEventListener("pointermove", function (event) {
      const edge = parts.svg.getBoundingClientRect(), box = view.box;
      const x = (event.clientX - edge.left - box.left) / (box.right - box.left);
      const y = (event.clientY - edge.top - box.top) / (box.bottom - box.top);
      if (x >= 0 && x < 1 && y >= 0 && y < 1) tell(Math.floor(y * rows), Math.floor(x * columns));
    });
    parts.svg.addEventListener("keydown", function (event) {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      tell(at[0] + step[0], at[1] + step[1]);
      event.preventDefault();
    });
  }

  chartParts.kinds.heat = heatMap;
})();
