"use strict";
(() => {
  const slider = document.getElementById("round-slider");
  if (!slider) return;
  const panels = Array.from(document.querySelectorAll(".round-panel"));
  const output = document.getElementById("round-output");
  const show = (index) => {
    panels.forEach((panel, position) => { panel.hidden = position !== index; });
    const number = panels[index].dataset.round;
    slider.value = String(index);
    slider.setAttribute("aria-valuetext", "round " + number);
    output.textContent = "round " + number;
  };
  const follow = () => {
    const match = /^#round=(\d+)$/.exec(location.hash);
    const index = match ? panels.findIndex((panel) => panel.dataset.round === match[1]) : -1;
    if (index >= 0) show(index);
  };
  document.getElementById("round-control").hidden = false;
  slider.addEventListener("input", () => show(Number(slider.value)));
  window.addEventListener("hashchange", follow);
  show(panels.length - 1);
  follow();
})();
