// The newest job, large: waiting, running with its preview, or its pictures. Other running jobs
// are one line each below it. Buttons do nothing themselves: they signal to the page.
import { copyButton, deleteButton, starButton } from "./acts.js";
import { ACTIVE, clock, facts, h, signal } from "./dom.js";

// How a job ends without a picture. None of these costs anything.
const ENDS = {
  cancelled: "Cancelled.",
  failed: "This one did not work.",
  refused: "The content filter held this back.",
};
const FREE = "Nothing was charged.";

export function drawStage(root, job, viewer) {
  const stage = root.querySelector(".stage");
  stage.hidden = !job;
  if (!job) return;
  const key = [job.id, job.state, job.message, job.position, job.waiting, job.cancelling, job.starred,
    job.pictures.filter((picture) => picture.refused).length].join();
  if (stage.dataset.key === key) return;
  const arrived = stage.dataset.key?.startsWith(job.id) && job.state === "finished";
  const held = stage.contains(document.activeElement) && document.activeElement.dataset.act;
  stage.dataset.key = key;
  stage.dataset.id = job.id;
  stage.dataset.state = job.state;
  stage.classList.toggle("arrived", Boolean(arrived));
  stage.replaceChildren(...[frame(job, viewer), panel(root, job)].filter(Boolean));
  if (held) stage.querySelector(`[data-act="${held}"]`)?.focus();
  if (job.state === "running") drawStep(root, job);
}

export function drawStep(root, job) {
  const holder = root.querySelector(`[data-job="${job.id}"]`);
  const bar = holder?.querySelector("progress");
  if (!bar) return false;
  const total = job.steps || 1;
  bar.max = total;
  bar.value = job.step ?? 0;
  holder.querySelector(".progress-words").textContent = words(job);
  drawPreview(root, job, total / job.images);
  return true;
}

// Pictures are made one after the other. Each is seen arriving with less blur as its steps go by, and
// stays veiled until the filter has passed it.
function drawPreview(root, job, stepsEach) {
  const previews = root.querySelectorAll(`.stage[data-id="${job.id}"] .preview`);
  if (!previews.length || !job.preview) return;
  const at = Math.min(Math.floor(Math.max(job.step - 1, 0) / stepsEach), previews.length - 1);
  previews[at].src = job.preview;
  previews[at].hidden = false;
  previews[at].style.setProperty("--left", 1 - (job.step - at * stepsEach) / stepsEach);
}

export function drawOthers(root, jobs) {
  const list = root.querySelector(".others");
  list.hidden = jobs.length === 0;
  const key = jobs.map((job) => [job.id, job.state, job.position, job.waiting, job.cancelling].join()).join(" ");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...jobs.map((job) => h("li", { class: "other", "data-job": job.id },
    h("p", { class: "other-prompt" }, job.prompt), progress(job), cancelButton(root, job))));
  jobs.filter((job) => job.state === "running").forEach((job) => drawStep(root, job));
}

function words(job) {
  if (job.cancelling) return "Stopping";
  if (job.state === "queued") {
    if (job.waiting) return job.waiting;
    const ahead = (job.position ?? 1) - 1;
    if (job.retry) return "Its worker stopped, so it begins again. Nothing is charged twice";
    return ahead > 0 ? `Waiting · ${ahead} ahead of you` : "Next in line";
  }
  if (!job.step) return job.message || "Starting the model";
  if (job.step >= job.steps) return "Checking the picture";
  const quiet = job.quiet ? " · no news for a while. If its worker is gone, another one begins again" : "";
  return `Step ${job.step} of ${job.steps}${quiet}`;
}

function progress(job) {
  return h("div", { class: "progress" },
    h("p", { class: "progress-words", id: `words-${job.id}` }, words(job)),
    h("progress", { "aria-labelledby": `words-${job.id}`, max: job.steps || 1,
      value: job.state === "queued" ? 0 : job.step || 0 }));
}

function frame(job, viewer) {
  if (job.state in ENDS) return null;
  if (job.state === "finished") return pictures(job, viewer);
  return grid(job, Array.from({ length: job.images }, () => h("li", { class: "sheet" },
    h("img", { class: "preview", alt: "", hidden: true }))));
}

function grid(job, items) {
  const aspect = job.width / job.height;
  const columns = items.length === 4 && aspect > 0.9 ? 2 : items.length; // whichever shows them larger
  const style = `--aspect:${aspect};--columns:${columns};--rows:${items.length / columns}`;
  return h("div", { class: "easel" },
    h("ul", { class: "frame", "data-count": items.length, style }, items));
}

function pictures(job, viewer) {
  return grid(job, job.pictures.map((picture, index) => picture.refused
    ? h("li", { class: "sheet" }, h("p", { class: "sheet-words" }, "Held back by the content filter. Not charged. ",
      h("a", { href: "/refusals" }, "Why, and how to appeal")))
    : h("li", {}, h("button", { type: "button", class: "picture", "data-act": `open-${index}`,
      onclick: () => viewer.open(job, index) },
    h("img", { src: `/media/${picture.id}`, width: picture.width, height: picture.height,
      alt: job.images > 1 ? `${job.prompt}, picture ${index + 1}` : job.prompt })))));
}

function panel(root, job) {
  const running = ACTIVE.has(job.state);
  const said = facts(job).slice(0, job.state === "finished" ? -1 : undefined); // "paid" says the price
  return h("div", { class: "stage-panel", "data-job": job.id },
    h("h2", { class: "stage-prompt", dir: "auto" }, job.prompt),
    h("ul", { class: "facts" }, said.map((fact) => h("li", {}, fact))),
    running ? progress(job) : outcome(job),
    h("div", { class: "cluster" }, ...(running ? [cancelButton(root, job)]
      : [...downloads(job), reuseButton(root, job), againButton(root, job)])),
    job.state === "finished"
      ? h("div", { class: "acts" }, starButton(root, job), copyButton(job), deleteButton(root, job)) : null);
}

function outcome(job) {
  if (job.state === "finished") {
    const seconds = job.seconds ? ` · took ${job.seconds} s` : "";
    return h("p", { class: "muted small" }, `${clock(job.created_at)} · paid ${job.price}${seconds}`);
  }
  const why = job.error ?? ENDS[job.state];
  const kind = job.state === "cancelled" ? "notice" : "notice care";
  return h("p", { class: kind }, why.includes(FREE) ? why : `${why} ${FREE}`,
    job.state === "refused" ? [" ", h("a", { href: "/refusals" }, "Why, and how to appeal")] : null);
}

function cancelButton(root, job) {
  return h("button", { type: "button", class: "button", "data-act": "cancel",
    disabled: job.cancelling, onclick: () => signal(root, "cancel", { id: job.id }) },
  job.cancelling ? "Stopping" : "Cancel");
}

export function reuseButton(root, job) {
  return h("button", { type: "button", class: "button", "data-act": "reuse",
    onclick: () => signal(root, "reuse", { id: job.id }) }, "Use these settings");
}

// The same words and settings with a new seed: everything is filled in, and Enter makes it.
export function againButton(root, job) {
  return h("button", { type: "button", class: "button", "data-act": "again",
    onclick: () => signal(root, "reuse", { id: job.id, seed: "new" }) }, "Try another seed");
}

function downloads(job) {
  if (job.state !== "finished") return [];
  const kept = job.pictures.filter((picture) => !picture.refused);
  const link = (picture, words, label) => h("a", { class: "button", download: true, "aria-label": label,
    "data-act": `download-${picture.id}`, href: `/media/${picture.id}?download=1` }, words);
  if (kept.length === 0) return [];
  if (kept.length === 1) return [link(kept[0], "Download")];
  return [h("div", { class: "downloads" }, h("span", { class: "muted small" }, "Download"),
    kept.map((picture, index) => link(picture, `${index + 1}`, `Download picture ${index + 1}`)))];
}
