"use strict";
// Charts of a page: every element with data-chart="NAME" is filled by pageData().charts[NAME], see charts.py.
//
// lines: {kind: "lines", title, xLabel, yLabel, series: [{name, x: [], y: [], dash?}], log?, logX?, smooth?}
// heat:  {kind: "heat", title, xLabel, yLabel, unit, x: [], rows: [names], values: [row][column], limit?}
// A value that is null is a gap, which is marked. What a reader switched is kept for when the page is loaded again.

(function () {
  const NS = "http://www.w3.org/2000/svg";
  const DASHES = ["", "6 3", "2 2", "9 3 2 3"];
  // A line of so few points has a dot for each, and is not smoothed.
  const FEW = 60;
  const MARGIN = { left: 58, right: 14, top: 8, bottom: 36 };

  function make(kind, attributes, parent, text) {
    const svg = ["svg", "g", "path", "line", "rect", "text", "circle", "image", "title"].includes(kind);
    const made = svg ? document.createElementNS(NS, kind) : document.createElement(kind);
    for (const key of Object.keys(attributes || {})) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  function recall(name) {
    try {
      return JSON.parse(sessionStorage.getItem("chart " + location.pathname + " " + name)) || {};
    } catch (error) {
      return {};
    }
  }

  function remember(name, state) {
    try {
      sessionStorage.setItem("chart " + location.pathname + " " + name, JSON.stringify(state));
    } catch (error) {
      // A browser that keeps nothing: the chart begins anew.
    }
  }

  function write(value) {
    if (value === null || value === undefined) return "not a number";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
    if (Number.isInteger(value)) return value.toLocaleString("en-US");
    return String(Number(value.toPrecision(4)));
  }

  function linearTicks(low, high, count) {
    const rough = (high - low) / count;
    const power = Math.pow(10, Math.floor(Math.log10(rough)));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(i * step);
    return ticks.map((tick) => Number(tick.toPrecision(12)));
  }

  function logTicks(low, high, count) {
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    const every = Math.max(1, Math.round((last - first) / count));
    const ticks = [];
    for (let power = first; power <= last; power += every)
      for (const factor of last - first < 3 ? [1, 2, 5] : [1]) ticks.push(factor * Math.pow(10, power));
    const inside = ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
    return inside.length > 1 ? inside : linearTicks(low, high, count).filter((tick) => tick > 0);
  }

  // A scale from values to pixels, and back.
  function scale(low, high, from, to, log) {
    const inner = log ? Math.log10 : (value) => value;
    const outer = log ? (value) => Math.pow(10, value) : (value) => value;
    const a = inner(low), b = inner(high);
    const at = (value) => from + ((inner(value) - a) / (b - a)) * (to - from);
    at.value = (pixel) => outer(a + ((pixel - from) / (to - from)) * (b - a));
    at.ticks = (count) => (log ? logTicks : linearTicks)(low, high, count);
    return at;
  }

  // The running mean that forgets, divided by what its beginning lacks.
  function smoothed(values, weight) {
    let sum = 0, share = 0;
    return values.map(function (value) {
      if (value === null) return null;
      sum = weight * sum + (1 - weight) * value;
      share = weight * share + (1 - weight);
      return sum / share;
    });
  }

  // Where there are several points a pixel, the lowest and the highest of it are drawn.
  function pathOf(xs, ys, atX, atY, fits) {
    let text = "", pen = false, column = null;
    const flush = function () {
      if (!column) return;
      const pair = column.low === column.high ? [column.first] : [column.first, column.low, column.high, column.last];
      for (const y of pair) {
        text += (pen ? "L" : "M") + column.x + " " + y.toFixed(1);
        pen = true;
      }
      column = null;
    };
    for (let i = 0; i < xs.length; i++) {
      if (!fits(xs[i], ys[i])) {
        flush();
        if (ys[i] === null) pen = false;
        continue;
      }
      const x = atX(xs[i]).toFixed(1), y = atY(ys[i]);
      if (column && column.x === x) {
        column.low = Math.min(column.low, y);
        column.high = Math.max(column.high, y);
        column.last = y;
      } else {
        flush();
        column = { x: x, first: y, low: y, high: y, last: y };
      }
    }
    flush();
    return text;
  }

  // Title, controls, drawing and read-out of any chart; draws again when its width changes.
  function frame(holder, spec, draw) {
    holder.classList.add("chart");
    make("div", { class: "title" }, holder, spec.title);
    const controls = make("div", { class: "controls" }, holder);
    const label = spec.title + ": " + spec.yLabel + " by " + spec.xLabel;
    const plot = make("div", {}, holder);
    const svg = make("svg", { role: "img", tabindex: "0", "aria-label": label }, plot);
    const readout = make("div", { class: "readout", "aria-live": "polite" }, holder, "\u00a0");
    let width = 0;
    const again = function () {
      const now = Math.max(200, width);
      svg.setAttribute("width", now);
      svg.textContent = "";
      draw(svg, now);
    };
    new ResizeObserver(function () {
      if (plot.clientWidth === width) return;
      width = plot.clientWidth;
      again();
    }).observe(plot);
    return { controls: controls, svg: svg, readout: readout, again: again };
  }

  function button(parent, text, pressed, act) {
    const made = make("button", { type: "button" }, parent, text);
    if (pressed !== null) made.setAttribute("aria-pressed", pressed);
    made.addEventListener("click", function () {
      if (pressed !== null) made.setAttribute("aria-pressed", made.getAttribute("aria-pressed") !== "true");
      act(made.getAttribute("aria-pressed") === "true");
    });
    return made;
  }

  function axes(svg, spec, box, atX, atY, ticksY) {
    const grid = make("g", { class: "axes" }, svg);
    for (const tick of ticksY) {
      make("line", { x1: box.left, x2: box.right, y1: atY(tick), y2: atY(tick) }, grid);
      make("text", { x: box.left - 6, y: atY(tick) + 4, "text-anchor": "end" }, grid, write(tick));
    }
    for (const tick of atX.ticks(Math.max(2, Math.floor((box.right - box.left) / 90)))) {
      make("line", { x1: atX(tick), x2: atX(tick), y1: box.bottom, y2: box.bottom + 4 }, grid);
      make("text", { x: atX(tick), y: box.bottom + 16, "text-anchor": "middle" }, grid, write(tick));
    }
    make("line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, class: "axis" }, grid);
    make("text", { x: (box.left + box.right) / 2, y: box.bottom + 31, "text-anchor": "middle" }, grid, spec.xLabel);
  }

  function boxOf(width, height) {
    return { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: height - MARGIN.bottom };
  }

  // A range that is not empty, with some air.
  function aired(low, high, log) {
    if (log) return low === high ? [low / 2, high * 2] : [low / 1.08, high * 1.08];
    const air = low === high ? Math.abs(low) / 10 || 1 : (high - low) * 0.04;
    return [low - air, high + air];
  }

  function lineChart(holder, name, spec) {
    const state = Object.assign({ log: !!spec.log, smooth: spec.smooth || 0, hidden: [], zoom: null }, recall(name));
    let view = null, at = null;
    const lines = spec.series.map(function (one, i) {
      const dash = DASHES[(Math.floor(i / 6) + (one.dash ? 1 : 0)) % DASHES.length];
      const colour = "var(--s" + (i % 6) + ")";
      return { name: one.name, x: one.x, raw: one.y, y: one.y, few: one.x.length <= FEW, colour: colour, dash: dash };
    });
    const shown = () => lines.filter((line) => !state.hidden.includes(line.name));

    function fits(x, y) {
      const inside = !state.zoom || (x >= state.zoom[0] && x <= state.zoom[1]);
      return inside && y !== null && y !== undefined && (!state.log || y > 0) && (!spec.logX || x > 0);
    }

    function ranges() {
      let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
      for (const line of shown()) {
        // A smoothed line stays between the values of the raw one.
        for (let i = 0; i < line.x.length; i++) {
          if (!state.zoom && (!spec.logX || line.x[i] > 0)) {
            x0 = Math.min(x0, line.x[i]);
            x1 = Math.max(x1, line.x[i]);
          }
          if (!fits(line.x[i], line.raw[i])) continue;
          y0 = Math.min(y0, line.raw[i]);
          y1 = Math.max(y1, line.raw[i]);
        }
      }
      if (state.zoom) [x0, x1] = state.zoom;
      if (!(x0 <= x1)) [x0, x1] = [0, 1];
      if (!(y0 <= y1)) [y0, y1] = [state.log ? 0.1 : 0, 1];
      return { x: x0 === x1 ? aired(x0, x1, spec.logX) : [x0, x1], y: aired(y0, y1, state.log) };
    }

    function drawLine(line, svg, box) {
      const style = "stroke:" + line.colour + (line.dash ? ";stroke-dasharray:" + line.dash : "");
      const raw = pathOf(line.x, line.raw, view.x, view.y, fits);
      const smooth = state.smooth && !line.few;
      make("path", { d: raw, class: smooth ? "line raw" : "line", style: style }, svg);
      if (smooth) make("path", { d: pathOf(line.x, line.y, view.x, view.y, fits), class: "line", style: style }, svg);
      if (line.few)
        line.x.forEach(function (x, i) {
          if (fits(x, line.y[i]))
            make("circle", { cx: view.x(x), cy: view.y(line.y[i]), r: 2.5, style: "fill:" + line.colour }, svg);
        });
      line.raw.forEach(function (value, i) {
        if (value !== null || (i && line.raw[i - 1] === null)) return;
        if (state.zoom && (line.x[i] < state.zoom[0] || line.x[i] > state.zoom[1])) return;
        const mark = make("text", { x: view.x(line.x[i]), y: box.bottom - 3, class: "gap", "text-anchor": "middle" }, svg, "✕");
        make("title", {}, mark, line.name + ": not a number from " + spec.xLabel + " " + write(line.x[i]) + " on");
      });
    }

    function draw(svg, width) {
      const height = width < 500 ? 220 : 280, box = boxOf(width, height), range = ranges();
      svg.setAttribute("height", height);
      for (const line of lines) line.y = state.smooth && !line.few ? smoothed(line.raw, state.smooth) : line.raw;
      view = {
        box: box,
        x: scale(range.x[0], range.x[1], box.left, box.right, spec.logX),
        y: scale(range.y[0], range.y[1], box.bottom, box.top, state.log),
      };
      axes(svg, spec, box, view.x, view.y, view.y.ticks(5));
      for (const line of shown()) drawLine(line, svg, box);
      view.cursor = make("line", { y1: box.top, y2: box.bottom, class: "cursor", visibility: "hidden" }, svg);
      view.band = make("rect", { y: box.top, height: box.bottom - box.top, class: "band", visibility: "hidden" }, svg);
    }

    const parts = frame(holder, spec, draw);
    const change = function () {
      remember(name, state);
      parts.again();
    };

    function nearest(line, x) {
      let low = 0, high = line.x.length - 1;
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (line.x[middle] < x) low = middle;
        else high = middle;
      }
      return Math.abs(line.x[low] - x) <= Math.abs(line.x[high] - x) ? low : high;
    }

    function tell(x) {
      const filled = shown().filter((line) => line.x.length);
      if (!filled.length) return;
      const near = filled.map((line) => line.x[nearest(line, x)]);
      at = near.reduce((best, one) => (Math.abs(one - x) < Math.abs(best - x) ? one : best));
      view.cursor.setAttribute("x1", view.x(at));
      view.cursor.setAttribute("x2", view.x(at));
      view.cursor.setAttribute("visibility", "visible");
      const told = filled.map(function (line) {
        const i = nearest(line, at);
        const mean = state.smooth && !line.few ? " (smoothed " + write(line.y[i]) + ")" : "";
        const where = line.x[i] === at ? "" : " at " + write(line.x[i]);
        return line.name + " " + write(line.raw[i]) + mean + where;
      });
      parts.readout.textContent = spec.xLabel + " " + write(at) + ": " + told.join("; ");
    }

    function zoom(low, high) {
      state.zoom = low === null ? null : [low, high];
      change();
    }

    if (lines.length > 1)
      lines.forEach(function (line) {
        const made = button(parts.controls, line.name, !state.hidden.includes(line.name), function (on) {
          state.hidden = state.hidden.filter((other) => other !== line.name);
          if (!on) state.hidden.push(line.name);
          change();
        });
        made.classList.add("legend");
        made.style.setProperty("--series", line.colour);
      });
    if (spec.smooth !== undefined) {
      const label = make("label", {}, parts.controls, "smooth ");
      const slider = make("input", { type: "range", min: 0, max: 0.99, step: 0.01 }, label);
      slider.value = state.smooth;
      slider.addEventListener("input", function () {
        state.smooth = Number(slider.value);
        change();
      });
    }
    button(parts.controls, "log", state.log, function (on) {
      state.log = on;
      change();
    });
    button(parts.controls, "reset", null, () => zoom(null));

    const pixel = (event) => event.clientX - parts.svg.getBoundingClientRect().left;
    const clamped = (x) => Math.min(Math.max(x, view.box.left), view.box.right);
    let from = null;
    parts.svg.addEventListener("pointerdown", function (event) {
      from = clamped(pixel(event));
      parts.svg.setPointerCapture(event.pointerId);
    });
    parts.svg.addEventListener("pointermove", function (event) {
      const x = clamped(pixel(event));
      tell(view.x.value(x));
      if (from === null) return;
      view.band.setAttribute("x", Math.min(from, x));
      view.band.setAttribute("width", Math.abs(from - x));
      view.band.setAttribute("visibility", "visible");
    });
    parts.svg.addEventListener("pointerup", function (event) {
      const begin = from, end = clamped(pixel(event));
      from = null;
      if (begin === null || Math.abs(begin - end) < 6) return;
      zoom(view.x.value(Math.min(begin, end)), view.x.value(Math.max(begin, end)));
    });
    parts.svg.addEventListener("pointercancel", function () {
      from = null;
      view.band.setAttribute("visibility", "hidden");
    });
    parts.svg.addEventListener("dblclick", () => zoom(null));
    parts.svg.addEventListener("keydown", function (event) {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const line = shown().filter((one) => one.x.length)[0];
      if (step && line) {
        const i = at === null ? 0 : nearest(line, at) + step;
        tell(line.x[Math.min(Math.max(i, 0), line.x.length - 1)]);
      } else if (event.key === "+" || event.key === "-") {
        const middle = at === null ? view.x.value((view.box.left + view.box.right) / 2) : at;
        const reach = (view.x.value(view.box.right) - view.x.value(view.box.left)) * (event.key === "+" ? 0.25 : 1);
        zoom(middle - reach, middle + reach);
      } else if (event.key === "Escape") zoom(null);
      else return;
      event.preventDefault();
    });
  }

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
        const text = spec.rows[row].length > 8 ? spec.rows[row].slice(0, 6) + "…" : spec.rows[row];
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

  const charts = (pageData() || {}).charts || {};
  for (const holder of document.querySelectorAll("[data-chart]")) {
    const name = holder.dataset.chart, spec = charts[name];
    (spec.kind === "heat" ? heatMap : lineChart)(holder, name, spec);
  }
})();
