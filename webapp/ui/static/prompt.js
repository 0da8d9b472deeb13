// The prompt's memory and the keys of the page: what was asked before is offered again, what is being
// written survives a reload and an ended session, its length is told near the limit.
import { h } from "./dom.js";

const DRAFT = "atelier-draft"; // in this tab alone, and only for the person who wrote it
const RECENT_MAX = 12;
const LENGTH_MAX = 2000; // inference.request refuses longer ones
const LENGTH_TOLD = 1600;

const field = () => document.querySelector("#prompt textarea");
const account = () => document.querySelector(".site-account .menu p .small")?.textContent ?? "";
let recent = [];

// The prompts of these jobs, newest first; called by the feed whenever it draws.
export function offer(jobs) {
  const newestFirst = [...jobs].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  recent = [...new Set(newestFirst.map((job) => job.prompt))].slice(0, RECENT_MAX);
  const menu = document.querySelector(".recent");
  if (menu) menu.hidden = recent.length === 0;
}

function write(words) {
  const prompt = field();
  prompt.value = words;
  prompt.dispatchEvent(new Event("input", { bubbles: true }));
  prompt.focus();
}

function openRecent(menu) {
  const list = menu.querySelector(".choices");
  list.replaceChildren(...recent.map((words) => h("li", {}, h("button", { type: "button", dir: "auto", title: words,
    onclick: () => { menu.open = false; write(words); } }, words))));
  list.querySelector("button")?.focus();
}

document.addEventListener("toggle", (event) => {
  if (event.target.matches?.(".recent") && event.target.open) openRecent(event.target);
}, true);
document.addEventListener("click", (event) => {
  const menu = document.querySelector(".recent[open]");
  if (menu && !menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.(".recent[open]");
  if (!menu) return;
  const buttons = [...menu.querySelectorAll("li button")];
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === "Escape") {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (by) {
    event.preventDefault();
    buttons[(buttons.indexOf(document.activeElement) + by + buttons.length) % buttons.length]?.focus();
  }
});

function count(prompt) {
  const told = document.querySelector(".prompt-count");
  const length = [...prompt.value].length; // as the server counts: characters, not UTF-16 halves
  told.hidden = length < LENGTH_TOLD;
  told.textContent = `${length.toLocaleString("en")} of ${LENGTH_MAX.toLocaleString("en")} characters`;
  told.classList.toggle("over", length > LENGTH_MAX);
}

document.addEventListener("input", (event) => {
  if (event.target !== field()) return;
  count(event.target);
  sessionStorage.setItem(DRAFT, JSON.stringify({ who: account(), words: event.target.value }));
});
document.addEventListener("submit", (event) => {
  if (event.target.matches?.("form[action='/logout']")) sessionStorage.removeItem(DRAFT);
});

// Brings the draft back once the page knows who looks at it.
function restore() {
  if (!field() || !account()) return false;
  const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
  if (draft?.who === account() && draft.words && !field().value) {
    field().value = draft.words;
    field().dispatchEvent(new Event("input", { bubbles: true }));
  }
  return true;
}
if (!restore()) {
  const watcher = new MutationObserver(() => restore() && watcher.disconnect());
  watcher.observe(document.documentElement, { childList: true, subtree: true });
}

if (/Mac|iPhone|iPad/.test(navigator.platform)) document.documentElement.dataset.mac = "yes";

function showShortcuts() {
  document.querySelector(".shortcuts")?.showModal();
}
const KEYS = {
  p: () => field()?.focus(),
  "/": () => document.querySelector(".gallery-search")?.focus(),
  "?": showShortcuts,
};
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input:not([type=radio]), textarea, select, [contenteditable]");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  if (document.querySelector("dialog[open]")) return;
  event.preventDefault();
  KEYS[event.key]();
});
document.addEventListener("click", (event) => {
  if (event.target.closest?.(".shortcuts-open")) showShortcuts();
});
