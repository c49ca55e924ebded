"use strict";
// A diagram on a page: drawn from where Graphviz put boxes and arrows; moved, zoomed, folded, searched.

const SVG = "http://www.w3.org/2000/svg";

// Make an element; texts become text, whatever stands in them.
function make(kind, attributes, ...children) {
  const node = kind.startsWith("svg:") ? document.createElementNS(SVG, kind.slice(4)) : document.createElement(kind);
  for (const [key, value] of Object.entries(attributes || {}))
    if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  node.append(...children);
  return node;
}

// Marks that keep the letters of a name, whichever way they run, to themselves.
const isolated = (text) => "\u2068" + text + "\u2069";

class Viewer {
  // svg: the element to draw in; layers: what the colours need of each; chosen(layer): called where one is clicked.
  constructor(svg, layers, sizes, chosen) {
    this.svg = svg;
    this.layers = layers;
    this.sizes = sizes;
    this.chosen = chosen;
    this.place = { x: 0, y: 0, scale: 1 };
    this.selected = null;
    this.matches = new Set();
    this.colour = "kind";
    this.open = null; // Which group is unfolded: its number, "all", or null.
    this.listen();
  }

  // Draw a view: what is in the net in one phase. Groups stay as they are where there are as many.
  show(view) {
    if (this.view && view.groups !== this.view.groups) this.open = null;
    this.view = view;
    this.boxOf = new Map();
    this.together = new Map(); // The layers that a row stands for: one, or one a phase.
    view.boxes.forEach((box, i) => box.rows.forEach((row) => row.layers.forEach((layer) => {
      this.boxOf.set(layer, i);
      this.together.set(layer, row.layers);
    })));
    this.draw();
  }

  layout() {
    const key = this.open === null ? "" : String(this.open);
    // Where there is one group, all of them is that one.
    return this.view.layouts.find((one) => one.open === key) || this.view.layouts[this.view.layouts.length - 1];
  }

  draw() {
    const layout = (this.shown = this.layout());
    this.canvas = make("svg:g", {});
    for (const frame of layout.frames) this.canvas.append(this.frame(frame));
    const arrows = make("svg:g", { class: "arrows" });
    for (const [path, x, y, text, phase] of layout.edges) {
      arrows.append(make("svg:path", { d: path, class: phase ? "dashed" : null, "marker-end": "url(#head)" }));
      if (text) arrows.append(make("svg:text", { x: x, y: y + 3 }, isolated(text)));
    }
    this.canvas.append(arrows);
    layout.boxes.forEach((box, i) => this.canvas.append(this.box(this.view.boxes[box], box, ...layout.places[i])));
    const head = make("svg:marker", { id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7,
      markerHeight: 7, orient: "auto" }, make("svg:path", { d: "M0,1L8,4L0,7Z", class: "head" }));
    this.svg.replaceChildren(make("svg:defs", {}, head), this.canvas);
    this.paint();
    this.move();
  }

  frame([group, folded, label, told, left, top, right, bottom]) {
    const width = right - left;
    const button = make("svg:g", { class: "frame", role: "button", tabindex: 0, "data-group": group,
      "aria-expanded": String(!folded), "aria-label": label });
    const box = { x: left, y: top, width: width, height: bottom - top, rx: 8 };
    button.append(make("svg:rect", { ...box, class: folded ? "folded" : "unfolded" }));
    button.append(make("svg:text", { x: left + width / 2, y: top + 15 }, (folded ? "▸ " : "▾ ") + isolated(label)));
    button.append(make("svg:title", {}, told));
    return button;
  }

  box(box, number, x, y) {
    const [left, top] = [x - box.w / 2, y - box.h / 2];
    const group = make("svg:g", { class: "box", "data-box": number, transform: `translate(${left},${top})` });
    let down = 0;
    box.rows.forEach((row, i) => {
      group.append(this.row(row, box.w, down, i > 0));
      down += row.h;
    });
    group.append(make("svg:rect", { class: "border", width: box.w, height: box.h }));
    return group;
  }

  row(row, width, down, inPlace) {
    const sizes = this.sizes;
    const group = make("svg:g", { class: "row", "data-layer": row.layers[0], "data-layers": row.layers.join(" ") });
    group.append(make("svg:rect", { y: down, width: width, height: row.h }));
    let line = down + sizes.padding + 11;
    const text = make("svg:text", { x: width / 2, y: line });
    text.append(make("svg:tspan", { class: inPlace ? null : "name" }, isolated(row.name)));
    text.append(make("svg:tspan", { class: "soft", dx: 6 }, isolated(row.type)));
    if (row.phases) text.append(make("svg:tspan", { class: "phase", dx: 6 }, row.phases));
    group.append(text);
    for (const told of row.lines) {
      line += sizes.line;
      group.append(make("svg:text", { x: width / 2, y: line, class: "small" }, isolated(told)));
    }
    group.append(make("svg:title", {}, this.layers[row.layers[0]].name));
    return group;
  }

  // Colours, what is selected and what was searched for; the rest stays as it is.
  paint() {
    const amount = (layer) => this.layers[layer][this.colour] || 0;
    const most = Math.max(...this.layers.map((_, i) => amount(i)), 0);
    for (const row of this.canvas.querySelectorAll(".row")) {
      const layer = Number(row.dataset.layer);
      const together = row.dataset.layers.split(" ").map(Number);
      const { kind } = this.layers[layer];
      const mark = together.map((one) => this.layers[one].mark).find((one) => one && one !== "same");
      const rect = row.querySelector("rect");
      rect.setAttribute("class", this.colour === "kind" ? "kind-" + kind : "plain");
      rect.style.fill = "";
      if (this.colour === "phase") {
        const phase = row.querySelector(".phase");
        rect.setAttribute("class", phase ? "only-" + phase.textContent : "plain");
      } else if (this.colour !== "kind" && most) {
        const share = 100 * Math.sqrt(amount(layer) / most);
        rect.style.fill = `color-mix(in srgb, var(--heat) ${share.toFixed(1)}%, var(--box))`;
      }
      row.classList.toggle("match", together.some((one) => this.matches.has(one)));
      row.classList.toggle("selected", together.includes(this.selected));
      if (mark) row.dataset.mark = mark;
    }
  }

  move() {
    const { x, y, scale } = this.place;
    this.canvas.setAttribute("transform", `translate(${x.toFixed(2)},${y.toFixed(2)}) scale(${scale.toFixed(4)})`);
  }

  size() {
    const { width, height } = this.svg.getBoundingClientRect();
    return [width, height];
  }

  // The whole diagram, or as wide as there is room, from its beginning.
  fit(whole) {
    const [width, height] = this.size();
    const { width: w, height: h } = this.shown;
    const wide = (width - 20) / w;
    const scale = Math.min(wide, whole ? (height - 20) / h : 1, 1);
    this.place = { scale: scale, x: (width - w * scale) / 2, y: whole ? (height - h * scale) / 2 : 10 };
    this.move();
  }

  zoom(factor, x, y) {
    const [width, height] = this.size();
    const [cx, cy] = x === undefined ? [width / 2, height / 2] : [x, y];
    const scale = Math.min(Math.max(this.place.scale * factor, 0.02), 8);
    const by = scale / this.place.scale;
    this.place = { scale: scale, x: cx - (cx - this.place.x) * by, y: cy - (cy - this.place.y) * by };
    this.move();
  }

  pan(dx, dy) {
    this.place.x += dx;
    this.place.y += dy;
    this.move();
  }

  centre(x, y) {
    const [width, height] = this.size();
    const { scale } = this.place;
    this.place = { scale: scale, x: width / 2 - x * scale, y: height / 2 - y * scale };
    this.move();
  }

  // Unfold a group (its number), all ("all") or none (null); what was clicked stays where it is.
  unfold(open, group) {
    const corner = (layout) => (layout.frames.find((one) => one[0] === group) || []).slice(4, 6);
    const before = corner(this.shown);
    this.open = open;
    this.draw();
    const after = corner(this.shown);
    if (before.length && after.length) {
      const { scale } = this.place;
      this.pan((before[0] - after[0]) * scale, (before[1] - after[1]) * scale);
    } else this.fit(false);
  }

  toggle(group) {
    this.unfold(this.open === group || this.open === "all" ? null : group, group);
  }

  // Mark a layer and bring it into the middle, where it is in the net that is shown.
  select(layer, bring) {
    this.selected = layer;
    const box = this.boxOf.get(layer);
    if (box !== undefined && !this.shown.boxes.includes(box)) this.unfold(this.groupOf(box));
    const place = this.shown.places[this.shown.boxes.indexOf(box)];
    if (bring && place) {
      if (this.place.scale < 0.6) this.place.scale = 1;
      this.centre(...place);
    }
    this.paint();
    return box !== undefined;
  }

  groupOf(box) {
    const at = this.view.groupBoxes.findIndex(([first, stop]) => first <= box && box < stop);
    return at < 0 ? null : at;
  }

  search(text) {
    const sought = text.trim().toLowerCase();
    this.matches = new Set();
    if (sought)
      this.layers.forEach((layer, i) => {
        const found = layer.name.toLowerCase().includes(sought) || layer.type.toLowerCase().includes(sought);
        if (found && this.boxOf.has(i)) this.matches.add(i);
      });
    this.paint();
    return [...this.matches];
  }

  listen() {
    const pointers = new Map();
    let moved = 0;
    const spread = () => {
      const [a, b] = [...pointers.values()];
      return Math.hypot(a[0] - b[0], a[1] - b[1]);
    };
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      moved = 0;
    });
    this.svg.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const apart = pointers.size === 2 ? spread() : 0;
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
      moved += Math.abs(dx) + Math.abs(dy);
      if (moved > 4) this.svg.setPointerCapture(event.pointerId);
      if (apart) {
        const { left, top } = this.svg.getBoundingClientRect();
        const [a, b] = [...pointers.values()];
        this.zoom(spread() / apart, (a[0] + b[0]) / 2 - left, (a[1] + b[1]) / 2 - top);
      } else if (moved > 4) this.pan(dx, dy);
    });
    for (const end of ["pointerup", "pointercancel", "pointerleave"])
      this.svg.addEventListener(end, (event) => pointers.delete(event.pointerId));
    this.svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { left, top } = this.svg.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 400), event.clientX - left, event.clientY - top);
    }, { passive: false });
    this.svg.addEventListener("click", (event) => {
      const dragged = moved > 4;
      moved = 0;
      if (dragged) return;
      const row = event.target.closest(".row");
      const frame = event.target.closest(".frame");
      if (row) this.chosen(Number(row.dataset.layer));
      else if (frame) this.toggle(Number(frame.dataset.group));
    });
    this.svg.addEventListener("keydown", (event) => this.key(event));
    // What was in the middle stays there.
    let before = this.size();
    new ResizeObserver(() => {
      const after = this.size();
      if (this.canvas) this.pan((after[0] - before[0]) / 2, 0);
      before = after;
    }).observe(this.svg);
    window.addEventListener("beforeprint", () => this.print(true));
    window.addEventListener("afterprint", () => this.print(false));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const frame = event.target.closest(".frame");
    const step = 60;
    const actions = {
      ArrowLeft: () => this.pan(step, 0), ArrowRight: () => this.pan(-step, 0),
      ArrowUp: () => this.pan(0, step), ArrowDown: () => this.pan(0, -step),
      "+": () => this.zoom(1.25), "=": () => this.zoom(1.25), "-": () => this.zoom(0.8),
      "0": () => this.fit(true), "1": () => this.fit(false),
      f: () => this.unfold(null), u: () => this.unfold("all"),
      n: () => this.step(1), p: () => this.step(-1),
      Enter: frame ? () => this.toggle(Number(frame.dataset.group)) : null,
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
    if (frame) this.svg.querySelector(`.frame[data-group="${frame.dataset.group}"]`)?.focus();
  }

  // Choose the next layer of those that are drawn, or the one before.
  step(by) {
    const drawn = this.shown.boxes.flatMap((box) => this.view.boxes[box].rows.map((row) => row.layers[0]));
    const at = drawn.indexOf(this.selected);
    const next = drawn[at < 0 ? 0 : (at + by + drawn.length) % drawn.length];
    this.chosen(next);
    this.select(next, true);
  }

  // On paper the whole diagram stands on one page, or as wide as it where it is so long that nobody could read it then.
  print(begins) {
    const { width, height } = this.shown;
    if (begins) {
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.svg.style.maxWidth = width + "px";
      this.svg.style.maxHeight = height > 3 * width ? "" : "24cm";
      this.canvas.removeAttribute("transform");
    } else {
      this.svg.removeAttribute("viewBox");
      this.svg.style.maxWidth = this.svg.style.maxHeight = "";
      this.move();
    }
  }
}
