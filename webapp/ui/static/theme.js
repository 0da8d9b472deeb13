// Sets the chosen appearance before the first paint, and keeps Gradio's own dark class in step.
// Without a choice the system decides. Loaded blocking in <head> by every page.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("atelier-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
    else delete root.dataset.theme;
    const dark = chosen === "dark" || (chosen !== "light" && system.matches);
    if (document.body && document.querySelector(".gradio-container")) {
      document.body.classList.toggle("dark", dark);
    }
  };
  // The menu says which appearance is on; it is drawn after this script has run.
  const mark = () => {
    const chosen = root.dataset.theme ?? "system";
    for (const button of document.querySelectorAll("[data-set-theme]")) {
      button.setAttribute("aria-pressed", String(button.dataset.setTheme === chosen));
    }
  };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("toggle", mark, true);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-set-theme]");
    if (!button) return;
    localStorage.setItem("atelier-theme", button.dataset.setTheme);
    apply();
    mark();
  });
})();
