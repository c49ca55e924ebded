"use strict";
// Charts of a page: every element with data-chart="NAME" is filled by pageData().charts[NAME], see charts.py.
//
// lines: {kind: "lines", title, xLabel, yLabel, series: [{name, x: [], y: [], dash?}], log?, logX?, smooth?}
// heat:  {kind: "heat", title, xLabel, yLabel, unit, x: [], rows: [names], values: [row][column], limit?}
// A value that is null is a gap, which is marked. What a reader switched is kept for when the page is loaded again.
//
// What all kinds of charts have is here; each kind is a script of its own, and puts itself into chartParts.kinds.

const chartParts = (function () {
  const NS = "http://www.w3.org/2000/svg";
  const MARGIN = { left: 58, right: 24, top: 8, bottom: 36 };

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
    if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2);
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

  // Title, controls, drawing and read-out of any chart; draws again when its width changes.
  function frame(holder, spec, draw) {
    holder.classList.add("chart");
    const title = make("div", { class: "title" }, holder, spec.title);
    if (spec.kind === "lines" && spec.yLabel.toLowerCase() !== spec.title.toLowerCase())
      make("span", { class: "soft" }, title, ", " + spec.yLabel);
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
      // A long label at the right end stays in the picture; a digit is about 7 pixels wide.
      const label = write(tick), x = Math.min(atX(tick), box.right + MARGIN.right - 3.5 * label.length);
      make("text", { x: x, y: box.bottom + 16, "text-anchor": "middle" }, grid, label);
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
    if (low === 0 && high === 0) return [0, 1];
    const air = low === high ? Math.abs(low) / 10 : (high - low) * 0.04;
    return [low - air, high + air];
  }

  return { kinds: {}, make, recall, remember, write, scale, frame, button, axes, boxOf, aired, MARGIN };
})();

document.addEventListener("DOMContentLoaded", function () {
  const charts = (pageData() || {}).charts || {};
  for (const holder of document.querySelectorAll("[data-chart]")) {
    const name = holder.dataset.chart, spec = charts[name];
    chartParts.kinds[spec.kind](holder, name, spec);
  }
});
