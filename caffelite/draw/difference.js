"use strict";
// The page of two nets: two diagrams, a panel that tells what differs, a table of what does.

(function () {
  const data = pageData();
  const by = (id) => document.getElementById(id);
  const panel = by("panel");
  const viewers = data.sides.map((side, i) =>
    new Viewer(by("diagram" + i), side.layers, data.sizes, (layer) => choose(i, layer, false)));

  function choose(side, layer, bring) {
    const partner = data.sides[side].layers[layer].partner;
    viewers[side].select(layer, bring);
    viewers[1 - side].select(partner, partner !== null);
    panel.hidden = false;
    tell(side, layer);
  }

  function tell(side, layer) {
    const own = data.sides[side].layers[layer];
    const close = make("button", { type: "button", id: "close", title: "close (Esc)", "aria-label": "close" }, "×");
    close.addEventListener("click", clear);
    const parts = [make("p", {}, data.words[own.mark])];
    if (own.lines && own.lines.length) parts.push(difference(own.lines));
    const other = own.partner === null ? null : data.sides[1 - side].layers[own.partner];
    if (other) {
      parts.push(make("h3", {}, data.names[1 - side]), factTable(facts(1 - side, own.partner)));
      parts.push(make("h3", {}, data.names[side]));
    }
    panel.replaceChildren(close, ...layerPanel(own, facts(side, layer), ...parts));
    panel.scrollTop = 0;
  }

  function facts(side, layer) {
    const known = Object.entries(data.sides[side].facts).filter((entry) => entry[1][layer]);
    return Object.fromEntries(known.map(([phase, one]) => [phase, one[layer]]));
  }

  function difference(lines) {
    const kinds = { " ": "span", "-": "del", "+": "ins" };
    return make("pre", { class: "lines" }, ...lines.map(([mark, text]) =>
      make(kinds[mark], {}, `${mark} ${text}${mark === " " ? "\n" : ""}`)));
  }

  function clear() {
    for (const viewer of viewers) viewer.select(null, false);
    panel.hidden = true;
  }

  function search() {
    const counts = viewers.map((viewer) => viewer.search(by("search").value).length);
    by("count").textContent = by("search").value.trim() ? counts.join(" and ") + " layers" : "";
  }

  // What differs in use, in the order of the table.
  const differing = data.sides.flatMap((side, i) => side.layers.flatMap((layer, j) =>
    layer.mark === "only" || (layer.mark === "changed" && i === 0) ? [[i, j]] : []));
  let at = -1;

  by("search").addEventListener("input", search);
  const both = (action) => () => viewers.forEach(action);
  by("in").addEventListener("click", both((viewer) => viewer.zoom(1.25)));
  by("out").addEventListener("click", both((viewer) => viewer.zoom(0.8)));
  by("whole").addEventListener("click", both((viewer) => viewer.fit(true)));
  by("width").addEventListener("click", both((viewer) => viewer.fit(false)));
  by("next").disabled = !differing.length;
  by("next").addEventListener("click", () => {
    at = (at + 1) % differing.length;
    choose(...differing[at], true);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.matches("input")) {
      event.preventDefault();
      by("search").focus();
    } else if (event.key === "Escape") clear();
  });
  by("layers")?.addEventListener("click", (event) => {
    const button = event.target.closest("[data-layer]");
    if (button) choose(Number(button.dataset.side), Number(button.dataset.layer), true);
  });

  viewers.forEach((viewer, i) => {
    viewer.show(data.sides[i].view);
    viewer.fit(false);
  });
})();
