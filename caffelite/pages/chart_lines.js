"use strict";
// Charts of lines.

(function () {
  const { make, recall, remember, write, scale, frame, button, axes, boxOf, aired } = chartParts;
  const DASHES = ["", "6 3", "2 2", "9 3 2 3"];
  // A line of so few points has a dot for each, and is not smoothed.
  const FEW = 60;

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

  chartParts.kinds.lines = lineChart;
})();
