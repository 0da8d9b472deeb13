// The page of LoRAs: a file goes up as it is, with its progress; states that change are drawn anew.
const LOOK_MS = 3000; // a check takes seconds to minutes

const form = document.querySelector("[data-bring]");
const file = form?.querySelector("#file");
const name = form?.querySelector("#name");
const problem = form?.querySelector("#bring-problem");
const progress = form?.querySelector("progress");
const button = form?.querySelector("[type=submit]");

// The file's own name is the first guess at what the LoRA is called.
file?.addEventListener("change", () => {
  say("");
  const chosen = file.files[0];
  if (chosen && !name.value) name.value = chosen.name.replace(/\.safetensors$/i, "").slice(0, name.maxLength);
});

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  if (button.disabled) return; // a double click is one wish
  const chosen = file.files[0];
  if (!chosen) return say("Choose a file.", file);
  if (!/\.safetensors$/i.test(chosen.name)) return say("Only .safetensors files can be brought: other kinds can hold programs.", file);
  if (chosen.size > Number(form.dataset.bytesMax)) return say("This file is larger than a LoRA may be.", file);
  if (!name.value.trim()) return say("Give the LoRA a name.", name);
  send(chosen);
});

function send(chosen) {
  const asked = new URLSearchParams({ name: name.value, triggers: form.querySelector("#triggers").value });
  const request = new XMLHttpRequest(); // fetch tells nothing of an upload's progress
  request.open("POST", `/loras/file?${asked}`);
  request.setRequestHeader("Accept", "application/json");
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.upload.addEventListener("progress", ({ loaded, total }) => { progress.value = loaded / total; });
  request.upload.addEventListener("load", () => { button.textContent = "Reading…"; });
  request.addEventListener("load", () => {
    if (request.status === 401) return location.assign(`/login?next=${encodeURIComponent("/loras")}`);
    if (request.status < 300) return location.assign("/loras");
    end(sentenceOf(request));
  });
  request.addEventListener("error", () => end("The connection was lost, and nothing was kept. Try again."));
  say("");
  progress.hidden = false;
  button.disabled = true;
  button.textContent = "Uploading…";
  request.send(chosen);
}

function sentenceOf(request) {
  try {
    return JSON.parse(request.responseText).error.message;
  } catch {
    return "The studio could not take the file. Try again.";
  }
}

function end(sentence) {
  progress.hidden = true;
  progress.value = 0;
  button.disabled = false;
  button.textContent = "Upload";
  say(sentence, button);
}

function say(sentence, at) {
  problem.textContent = sentence;
  file.setAttribute("aria-invalid", String(Boolean(sentence)));
  at?.focus();
}

for (const asking of document.querySelectorAll("[data-ask]")) {
  asking.addEventListener("submit", (event) => { if (!confirm(asking.dataset.ask)) event.preventDefault(); });
}

// While something is being checked the page looks again, and is drawn anew once a state has changed;
// not under the hands of somebody who types.
const drawn = () => [...document.querySelectorAll("[data-loras] > li")].map((row) => `${row.id.slice(5)} ${row.dataset.state}`).join();
async function look() {
  if (!document.querySelector('[data-state="checking"]')) return;
  const answer = await fetch("/loras/list", { headers: { Accept: "application/json" } }).catch(() => null);
  if (answer?.ok && !button?.disabled && !document.activeElement?.matches("input")) {
    const { loras } = await answer.json();
    if (loras.map((lora) => `${lora.id} ${lora.state}`).join() !== drawn()) return location.reload();
  }
  setTimeout(look, LOOK_MS);
}
setTimeout(look, LOOK_MS);
