// Brings a desk's body from the server and its forms back: links, filters, sheets, copied words.
// The server writes all HTML and escapes it; this file only puts it in place and keeps the focus.

const TROUBLE = "The studio does not answer. Check the connection and try again.";

let view;
let sheet;
let latest = 0; // a slow answer must not overwrite a newer one

function ready() {
  view = document.querySelector("[data-view]");
  if (!view || view.dataset.ready) return Boolean(view);
  view.dataset.ready = "yes";
  sheet = document.querySelector("dialog.sheet");
  sheet.addEventListener("click", (event) => { if (event.target === sheet) sheet.close(); });
  show(location.search);
  return true;
}

if (!ready()) {
  const waiting = new MutationObserver(() => { if (ready()) waiting.disconnect(); });
  waiting.observe(document.documentElement, { childList: true, subtree: true });
}

async function ask(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { headers: { Accept: "text/html" }, ...options });
  } catch {
    throw Object.assign(new Error(TROUBLE), { status: 0 });
  }
  const text = await response.text();
  if (response.ok) return text;
  let message = TROUBLE;
  try { message = JSON.parse(text).error.message; } catch { /* not one of our own answers */ }
  throw Object.assign(new Error(message), { status: response.status });
}

async function show(search, { focus = null } = {}) {
  const turn = ++latest;
  view.setAttribute("aria-busy", "true");
  try {
    const html = await ask(view.dataset.view + search);
    if (turn === latest) put(html, focus);
  } catch (error) {
    if (turn === latest) put(titled(problem(error)), null);
  }
}

function put(html, focus) {
  latest += 1;
  view.innerHTML = html;
  view.removeAttribute("aria-busy");
  // On a phone the tabs are a row that scrolls: the one that is open is in sight.
  const tab = view.querySelector(".tabs [aria-current]");
  if (tab) tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - 16;
  const target = focus && (typeof focus === "string" ? document.getElementById(focus) : focus);
  if (target) target.focus();
}

function titled(html) {
  const head = document.createElement("h1");
  head.textContent = view.dataset.title;
  return head.outerHTML + html;
}

function problem({ message, status }) {
  const box = document.createElement("div");
  box.className = "notice bad desk-problem";
  box.setAttribute("role", "alert");
  const words = document.createElement("p");
  words.textContent = message;
  const again = document.createElement("button");
  again.className = "button";
  again.type = "button";
  // An address with a filter that cannot be read would fail again and again.
  again.dataset.again = status === 422 ? location.pathname : "";
  again.textContent = status === 422 ? "Show everything" : "Try again";
  box.append(words, again);
  return box.outerHTML;
}

function go(url, focus) {
  history.pushState(null, "", url);
  return show(location.search, { focus });
}

function retry(path) {
  if (path) go(path, null);
  else show(location.search);
}

async function openSheet(url) {
  sheet.innerHTML = '<p class="muted" role="status">Loading…</p>';
  if (!sheet.open) sheet.showModal();
  try {
    sheet.innerHTML = await ask(url);
    sheet.querySelector("[autofocus]")?.focus();
  } catch (error) {
    sheet.innerHTML = `<h2 id="sheet-title">That did not work</h2>${problem(error)}`;
    sheet.querySelector("[data-again]")?.remove();
    sheet.insertAdjacentHTML("beforeend",
      '<div class="sheet-foot"><button type="button" class="button" data-close>Close</button></div>');
    if (error.status === 404 || error.status === 409) show(location.search);
  }
}

async function send(form) {
  if (form.dataset.sending) return; // a double click is one request
  form.dataset.sending = "yes";
  const buttons = [...form.querySelectorAll("button")];
  buttons.forEach((button) => button.setAttribute("aria-disabled", "true"));
  const wrong = form.querySelector(".field-error");
  if (wrong) wrong.textContent = "";
  try {
    const html = await ask(form.getAttribute("action") + location.search,
      { method: "POST", body: new URLSearchParams(new FormData(form)) });
    sheet.close();
    put(html, "news");
  } catch (error) {
    if (wrong) wrong.textContent = error.message;
    // The row is gone or was changed by somebody else: what lies behind the sheet is out of date.
    if (error.status === 404 || error.status === 409) show(location.search);
  } finally {
    delete form.dataset.sending;
    buttons.forEach((button) => button.removeAttribute("aria-disabled"));
  }
}

async function copy(button) {
  const field = document.getElementById(button.dataset.copy);
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C"; // the browser wants the person to do it; it is selected
  }
}

function reveal(button) {
  const shown = button.getAttribute("aria-pressed") !== "true";
  const name = button.dataset.reveal;
  button.setAttribute("aria-pressed", `${shown}`);
  button.querySelector("[data-words]").textContent = shown ? "Hide picture" : "Show picture";
  button.closest(".case").querySelector(`#${name}`).toggleAttribute("data-shown", shown);
}

document.addEventListener("click", (event) => {
  const hit = (selector) => event.target.closest?.(selector);
  const link = hit("a[data-go]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    go(link.getAttribute("href"), link.dataset.go || null);
  } else if (hit("[data-sheet]")) openSheet(hit("[data-sheet]").dataset.sheet);
  else if (hit("[data-close]")) sheet.close();
  else if (hit("[data-copy]")) copy(hit("[data-copy]"));
  else if (hit("[data-reveal]")) reveal(hit("[data-reveal]"));
  else if (hit("[data-again]")) retry(hit("[data-again]").dataset.again);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-send]")) {
    event.preventDefault();
    send(form);
  } else if (form.matches("[data-ask]")) {
    event.preventDefault();
    const wanted = new URLSearchParams(new FormData(form));
    for (const [name, value] of [...wanted]) if (!value) wanted.delete(name);
    const search = wanted.toString();
    go(location.pathname + (search && `?${search}`), form.dataset.ask || null);
  }
});

// A choice that only filters needs no button.
document.addEventListener("change", (event) => {
  if (event.target.matches?.("[data-ask] select")) event.target.form.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || sheet?.open) return;
  document.querySelectorAll('[data-reveal][aria-pressed="true"]').forEach(reveal);
});

window.addEventListener("popstate", () => { if (view) show(location.search); });
