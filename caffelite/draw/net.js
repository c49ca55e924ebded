"use strict";
// The page of a net: controls, panel and table around one diagram.

(function () {
  const data = pageData();
  const by = (id) => document.getElementById(id);
  const panel = by("panel");
  const viewer = new Viewer(by("diagram"), data.layers, data.sizes, choose);
  let state = data.states[data.first];

  function choose(layer) {
    viewer.select(layer, false);
    tell(layer);
  }

  function tell(layer) {
    const drawn = viewer.boxOf.has(layer);
    const together = drawn ? viewer.together.get(layer) : [layer];
    const facts = {};
    for (const [phase, known] of Object.entries(data.facts[state.stage])) {
      const one = together.find((i) => known[i] !== undefined);
      if (one !== undefined && (state.phase === "ALL" || state.phase === phase)) facts[phase] = data.known[known[one]];
    }
    const note = drawn ? null : make("p", { class: "soft" }, "It is not in the net that is shown.");
    const close = make("button", { type: "button", id: "close", title: "close (Esc)", "aria-label": "close" }, "×");
    close.addEventListener("click", clear);
    // What a layer that normalizes is scaled by stands in the layer behind it.
    const behind = data.layers[data.layers[layer].scale];
    const scales = behind ? behind.charts.map((one) => chart({ ...one, title: `${behind.name}: ${one.title}` })) : [];
    panel.replaceChildren(close, ...layerPanel(data.layers[layer], facts, note), ...scales);
    for (const other of together.filter((i) => i !== layer))
      panel.append(make("p", { class: "soft" }, data.layers[other].place), make("pre", {}, data.layers[other].text));
    panel.hidden = false;
    panel.scrollTop = 0;
    for (const row of document.querySelectorAll("#layers tbody tr"))
      row.classList.toggle("selected", Number(row.querySelector("[data-layer]").dataset.layer) === layer);
  }

  function clear() {
    viewer.select(null, false);
    panel.hidden = true;
    by("diagram").focus();
  }

  function show() {
    const [phase, stage] = [document.querySelector("input[name=phase]:checked"), by("stage")];
    const wanted = { phase: phase ? phase.value : state.phase, stage: stage ? stage.value : state.stage };
    state = data.states.find((one) => one.phase === wanted.phase && one.stage === wanted.stage);
    const view = data.views[state.view];
    viewer.show(view);
    by("totals").textContent = view.totals;
    for (const id of ["fold", "unfold"]) by(id).hidden = !view.groups;
    search();
    viewer.fit(false);
    if (viewer.selected !== null) choose(viewer.selected);
  }

  let at = -1;
  function search() {
    const matches = viewer.search(by("search").value);
    at = -1;
    by("count").textContent = by("search").value.trim() ? `${matches.length} layer${matches.length === 1 ? "" : "s"}` : "";
    return matches;
  }

  function next(back) {
    const matches = [...viewer.matches];
    if (!matches.length) return;
    at = (at + (back ? -1 : 1) + matches.length) % matches.length;
    by("count").textContent = `${at + 1} of ${matches.length}`;
    viewer.select(matches[at], true);
    tell(matches[at]);
  }

  by("search").addEventListener("input", search);
  by("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") next(event.shiftKey);
  });
  for (const input of document.querySelectorAll("input[name=phase]")) input.addEventListener("change", show);
  by("stage")?.addEventListener("change", show);
  by("colour").addEventListener("change", () => {
    viewer.colour = by("colour").value;
    viewer.paint();
  });
  const buttons = { fold: () => viewer.unfold(null), unfold: () => viewer.unfold("all"), in: () => viewer.zoom(1.25),
    out: () => viewer.zoom(0.8), whole: () => viewer.fit(true), width: () => viewer.fit(false) };
  for (const [id, action] of Object.entries(buttons)) by(id).addEventListener("click", action);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=radio]), select");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      by("search").focus();
    } else if (event.key === "Escape") {
      by("search").value = "";
      search();
      clear();
    }
  });
  by("layers").addEventListener("click", (event) => {
    const button = event.target.closest("[data-layer]");
    if (!button) return;
    const layer = Number(button.dataset.layer);
    viewer.select(layer, true);
    tell(layer);
    by("diagram").scrollIntoView({ block: "nearest" });
  });

  viewer.colour = by("colour").value;
  show();
})();
