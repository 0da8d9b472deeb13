// The finance page beside desk.js: days of the chart by pointer and arrow keys, and the way to the
// payment provider. All words come from the server and are put in as text.

const AWAY = "The studio does not answer. Nothing was charged; check the connection and try again.";

function read(day) {
  const line = document.getElementById("readout");
  if (!line) return;
  const [head, rest] = line.children;
  head.textContent = day ? day.dataset.head : line.dataset.head;
  rest.textContent = day ? day.dataset.parts : "";
}

const dayOf = (event) => event.target.closest?.("[data-bars] li")?.querySelector("a");

document.addEventListener("pointerover", (event) => {
  const day = dayOf(event);
  if (day) read(day);
  else if (event.target.closest?.(".spend .month")) read(null);
});
document.addEventListener("focusin", (event) => {
  if (event.target.matches?.("[data-bars] a")) read(event.target);
});
document.addEventListener("focusout", (event) => {
  if (event.target.matches?.("[data-bars] a")) read(null);
});

// One stop for the Tab key; the arrows go from day to day.
document.addEventListener("keydown", (event) => {
  if (!event.target.matches?.("[data-bars] a")) return;
  const days = [...event.target.closest("[data-bars]").querySelectorAll("a")];
  const here = days.indexOf(event.target);
  const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: days.length - 1 }[event.key];
  if (to === undefined || !days[to]) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  days[to].tabIndex = 0;
  days[to].focus();
});

document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-pay]");
  if (!form || event.target.name !== "amount") return;
  const other = form.querySelector("[data-other]");
  other.hidden = event.target.value !== "other";
  if (!other.hidden) other.querySelector("input").focus();
});

async function pay(form) {
  if (form.dataset.sending) return; // a double click is one payment
  form.dataset.sending = "yes";
  const wrong = form.querySelector(".field-error");
  const button = form.querySelector("button[type=submit]");
  wrong.textContent = "";
  button.setAttribute("aria-disabled", "true");
  let message = AWAY;
  try {
    const answer = await fetch(form.getAttribute("action"), {
      method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(new FormData(form)) });
    const words = await answer.json();
    if (answer.ok) {
      location.assign(words.url);
      return;
    }
    message = words.error.message;
  } catch { /* not one of our own answers: say that nobody answered */ }
  wrong.textContent = message;
  button.removeAttribute("aria-disabled");
  delete form.dataset.sending;
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches?.("[data-pay]")) return;
  event.preventDefault();
  pay(event.target);
});
