"use strict";
// A page of a run that goes on loads itself again, unless its reader is at a chart or has said no.

(function () {
  const data = pageData(), key = "follow " + location.pathname;
  if (!data.live) return;
  const button = document.getElementById("follow"), stale = document.getElementById("stale");

  function follows() {
    try {
      return sessionStorage.getItem(key) !== "no";
    } catch (error) {
      return true;
    }
  }

  button.setAttribute("aria-pressed", follows());
  button.addEventListener("click", function () {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    try {
      sessionStorage.setItem(key, on ? "yes" : "no");
    } catch (error) {
      // A browser that keeps nothing follows.
    }
  });
  document.getElementById("again").addEventListener("click", () => location.reload());

  window.setInterval(function () {
    const minutes = Math.floor((Date.now() / 1000 - data.written) / 60);
    if (minutes >= 2)
      stale.textContent = "Nothing was written for " + minutes + " minutes: a long test, or the run was killed.";
    const read = document.querySelector(".chart:hover, .chart:focus-within");
    if (button.getAttribute("aria-pressed") === "true" && !read && !document.hidden) location.reload();
  }, 1000 * data.seconds);
})();
