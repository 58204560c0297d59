"use strict";
// Light, dark, or as the reader's system has it; remembered where the browser allows.
(() => {
  const names = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  const remember = (name) => { try { localStorage.setItem("r1zero-theme", name); } catch { /* no storage: for now only */ } };
  const recall = () => { try { return localStorage.getItem("r1zero-theme"); } catch { return null; } };
  let now = names.includes(recall()) ? recall() : "auto";
  const show = () => {
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    document.getElementById("theme-name").textContent = now;
    button.setAttribute("aria-label", `Theme: ${now}. Change it.`);
  };
  button.addEventListener("click", () => {
    now = names[(names.indexOf(now) + 1) % names.length];
    remember(now);
    show();
  });
  button.hidden = false;
  show();
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.recipe:not([open]), details.facts:not([open])")];
    opened.forEach((each) => { each.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((each) => { each.open = false; }));
})();
