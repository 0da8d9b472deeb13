// What a maker does with finished pictures: star them, copy their prompt, delete them. The buttons
// are the same wherever pictures stand; the server's answer, which comes back as an event to every
// open page, is what changes the page.
import { h } from "./dom.js";

const COPIED_MS = 1600;

export function starButton(root, job, kind = "button quiet") {
  return h("button", { type: "button", class: `${kind} star`, "data-act": "star", "aria-pressed": String(job.starred),
    "aria-label": "Star", title: job.starred ? "Take the star off" : "Star: find it again under Starred",
    onclick: () => star(root, job) },
  h("span", { "aria-hidden": "true" }, job.starred ? "★" : "☆"), kind === "strip-star" ? null : " Star");
}

export async function star(root, job) {
  const wanted = !job.starred;
  show(root, { ...job, starred: wanted });
  const answer = await ask(`/gallery/${job.id}/star`, wanted ? "PUT" : "DELETE");
  if (!answer.ok) {
    show(root, job);
    say(root, answer.message);
  }
}

export function copyButton(job) {
  const button = h("button", { type: "button", class: "button quiet", "data-act": "copy", onclick: async () => {
    const isDone = await navigator.clipboard?.writeText(job.prompt).then(() => true, () => false);
    button.textContent = isDone ? "Copied" : "Select it instead";
    setTimeout(() => { button.textContent = "Copy prompt"; }, COPIED_MS);
  } }, "Copy prompt");
  return button;
}

export function deleteButton(root, job) {
  return h("button", { type: "button", class: "button quiet", "data-act": "delete",
    onclick: () => askToDelete(root, job) }, "Delete");
}

// Nothing brings a deleted picture back, so it is asked once, and it is said what stays.
export function askToDelete(root, job) {
  const dialog = root.querySelector(".removal");
  const many = job.pictures.filter((picture) => !picture.refused).length;
  const what = many === 1 ? "this picture" : `these ${many} pictures`;
  const problem = h("p", { class: "field-error", role: "alert" });
  const go = h("button", { type: "button", class: "button danger", onclick: async () => {
    go.disabled = true;
    const answer = await ask(`/gallery/${job.id}`, "DELETE");
    go.disabled = false;
    if (!answer.ok) { problem.textContent = answer.message; return; }
    show(root, { ...job, deleted: true });
    say(root, many === 1 ? "The picture is deleted." : `${many} pictures are deleted.`);
  } }, many === 1 ? "Delete the picture" : `Delete ${many} pictures`);
  const pictures = job.pictures.filter((picture) => !picture.refused).map((picture) =>
    h("img", { src: `/media/${picture.id}/thumbnail`, alt: "" }));
  dialog.replaceChildren(
    h("h2", { id: "removal-title" }, `Delete ${what} for good?`),
    h("div", { class: "removal-pictures" }, pictures),
    h("p", {}, "The files and the prompt are erased, and nothing brings them back. " +
      `What ${many === 1 ? "it" : "they"} cost, ${job.price}, stays on the bill.`),
    problem,
    h("div", { class: "cluster" }, go,
      h("button", { type: "button", class: "button", autofocus: true, onclick: () => dialog.close() }, "Keep")));
  dialog.dataset.job = job.id;
  dialog.showModal();
}

// The job is gone, by this question's answer or by the event of it, which can come first. To be
// called before anything is drawn anew: what lies under an open dialog cannot be given the focus.
export function withdrawQuestion(root, job) {
  const dialog = root.querySelector(".removal");
  if (dialog.open && dialog.dataset.job === job.id) dialog.close();
}

function show(root, job) {
  root.dispatchEvent(new CustomEvent("atelier:shelved", { detail: job }));
}

function say(root, sentence) {
  root.dispatchEvent(new CustomEvent("atelier:say", { detail: sentence }));
}

async function ask(address, method) {
  const answer = await fetch(address, { method, headers: { accept: "application/json" } }).catch(() => null);
  if (answer?.ok) return { ok: true };
  const told = await answer?.json().catch(() => null);
  return { ok: false, message: told?.error?.message ?? "The studio did not answer. Try again." };
}
