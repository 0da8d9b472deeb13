// The form's manners: Ctrl+Enter, one job for a double click or a retry, examples, the seed's lock.

// One key for one state of the form. A retry after an error or a lost answer sends the same key, so
// the server returns the job it made; a key that was answered is kept a moment for a late second click.
const KEPT_MS = 800;
let last = { state: "", key: "", answeredAt: null };

function keyFor(state) {
  const isSpent = last.answeredAt !== null && performance.now() - last.answeredAt > KEPT_MS;
  if (state !== last.state || isSpent) last = { state, key: newKey(), answeredAt: null };
  return last.key;
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function answered(key) {
  if (key && key === last.key) last.answeredAt = performance.now();
  for (const field of document.querySelectorAll("#composer .atelier-field")) mark(field);
  document.querySelector('#composer [aria-invalid="true"]')?.focus();
}

// Screen readers hear which control is wrong, and read the sentence with it.
function mark(field) {
  delete field.dataset.edited;
  const isWrong = Boolean(field.querySelector(".field-error"));
  for (const control of field.querySelectorAll("textarea, input[type=text]")) {
    control.setAttribute("aria-invalid", String(isWrong));
    control.setAttribute("aria-describedby", field.querySelector(".slot").id);
  }
}

// What a sentence says of a field is out of date as soon as the field says something else.
document.addEventListener("input", (event) => {
  const field = event.target.closest?.("#composer .atelier-field");
  if (!field?.querySelector(".field-error")) return;
  field.dataset.edited = "yes";
  event.target.setAttribute("aria-invalid", "false");
});

// Settings were loaded again: to the prompt, or, where a new seed is wanted, to the button that asks.
function loaded() {
  scrollTo({ top: 0, behavior: "smooth" });
  const isAgain = document.querySelector("#seed input")?.value === "";
  document.querySelector(isAgain ? "#generate" : "#prompt textarea")?.focus({ preventScroll: true });
  showLock();
}

window.atelier = { keyFor, answered, loaded };

// The second click of a double click is the same wish. Caught before Gradio sees it.
document.addEventListener("click", (event) => {
  if (!event.target.closest?.("#generate")) return;
  if (event.detail > 1) event.stopImmediatePropagation();
}, true);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.repeat) return;
  const button = document.querySelector("#generate");
  if (!button || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  button.click();
}, true);

document.addEventListener("click", (event) => {
  const example = event.target.closest?.("[data-prompt]");
  if (!example) return;
  const prompt = document.querySelector("#prompt textarea");
  prompt.value = example.dataset.prompt;
  prompt.dispatchEvent(new Event("input", { bubbles: true }));
  prompt.focus();
});

// Gradio names every radio button differently, and anew after each choice: four groups of one, in
// which the arrow keys do nothing. Named alike, they are one stop of the Tab key, arrows inside.
function nameCounts() {
  for (const input of document.querySelectorAll("#images input")) {
    if (input.name !== "images") input.name = "images";
  }
}
document.addEventListener("focusin", nameCounts);
new MutationObserver(nameCounts)
  .observe(document.documentElement, { subtree: true, attributeFilter: ["name"] });

// The seed's lock: keeps the newest job's seed, or lets it be random again.
function showLock() {
  const input = document.querySelector("#seed input");
  const lock = document.querySelector(".seed-lock");
  if (!input || !lock) return;
  const last = document.documentElement.dataset.lastSeed;
  const words = input.value ? "Make it random" : "Keep the last one";
  if (lock.textContent !== words) lock.textContent = words;
  lock.disabled = !input.value && !last;
}

document.addEventListener("click", (event) => {
  if (!event.target.closest?.(".seed-lock")) return;
  const input = document.querySelector("#seed input");
  input.value = input.value ? "" : document.documentElement.dataset.lastSeed;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  showLock();
});
document.addEventListener("input", showLock);
new MutationObserver(showLock).observe(document.documentElement, { attributeFilter: ["data-last-seed"] });
