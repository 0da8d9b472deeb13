// The reviewer's desk by keyboard, and the veil over a picture. The server serves a picture only after
// a reason was written down; this file shows it when asked, and hides it again.

let view;

function ready() {
  view = document.querySelector("[data-view]");
  if (!view || view.dataset.desk) return Boolean(view);
  view.dataset.desk = "yes";
  new MutationObserver(settle).observe(view, { childList: true });
  settle();
  return true;
}

if (!ready()) {
  const waiting = new MutationObserver(() => { if (ready()) waiting.disconnect(); });
  waiting.observe(document.documentElement, { childList: true, subtree: true });
}

// After a decision another case is open than the address says, and a look that was just written down
// shows what it was for.
function settle() {
  const bench = view.querySelector("[data-bench]");
  if (!bench) return;
  const shown = location.pathname + location.search;
  if (bench.dataset.at !== shown && location.search.includes("case=")) {
    history.replaceState(null, "", bench.dataset.at);
  }
  follow(bench.querySelector(".queue-list"));
  const button = view.querySelector("[data-unveil]");
  if (button && document.documentElement.dataset.justLooked) unveil(button, true);
  delete document.documentElement.dataset.justLooked;
}

// The chosen case is in sight in the queue; the page itself does not move under the reader.
function follow(list) {
  const chosen = list?.querySelector('[aria-current="true"]');
  if (!chosen) return;
  const room = list.getBoundingClientRect();
  const place = chosen.getBoundingClientRect();
  if (place.top < room.top) list.scrollTop -= room.top - place.top;
  if (place.bottom > room.bottom) list.scrollTop += place.bottom - room.bottom;
}

function unveil(button, wanted) {
  const picture = view.querySelector("[data-seen]");
  if (!picture) return;
  if (wanted && !picture.src) picture.src = picture.dataset.src; // the bytes come now, not before
  picture.hidden = !wanted;
  view.querySelector("[data-veil]")?.toggleAttribute("hidden", wanted);
  button.setAttribute("aria-pressed", `${wanted}`);
  button.querySelector("[data-words]").textContent = wanted ? "Hide picture" : "Show picture";
}

function toggle() {
  const button = view.querySelector("[data-unveil]");
  if (button) unveil(button, button.getAttribute("aria-pressed") !== "true");
  else view.querySelector("[data-look]")?.click();
}

function keys(isOpen) {
  const sheet = document.querySelector("[data-keys-sheet]");
  if (!sheet) return;
  if (isOpen) sheet.showModal();
  else sheet.close();
}

document.addEventListener("click", (event) => {
  const hit = (selector) => event.target.closest?.(selector);
  if (hit("[data-unveil]")) toggle();
  else if (hit("[data-keys]")) keys(true);
  else if (hit("[data-keys-close]")) keys(false);
});

// The sentence of the chosen category is the reason, as long as the reviewer wrote none of their own.
document.addEventListener("change", (event) => {
  const form = event.target.closest?.("[data-policy]");
  if (!form || event.target.name !== "category") return;
  const reason = form.querySelector("[data-reason]");
  const known = [...event.target.options].map((option) => option.dataset.sentence);
  if (!reason.value.trim() || known.includes(reason.value.trim())) {
    reason.value = event.target.selectedOptions[0].dataset.sentence;
  }
});

document.addEventListener("submit", (event) => {
  if (event.target.getAttribute("action")?.endsWith("/look")) {
    document.documentElement.dataset.justLooked = "yes";
  }
}, true);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !view?.querySelector("[data-bench]")) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.target.closest?.("input, select, textarea, [contenteditable]")) return;
  if (event.key === "Escape") {
    const button = view.querySelector('[data-unveil][aria-pressed="true"]');
    if (button) unveil(button, false);
    return;
  }
  const acts = { v: toggle, "?": () => keys(true) };
  const target = view.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  const act = acts[event.key] ?? (target && (() => target.click()));
  if (!act) return;
  event.preventDefault();
  act();
});
