// One picture as large as the window allows, with all that made it. The arrow keys or a swipe walk
// through the gallery and fetch older pages on the way; a press on the picture shows its own pixels.
import { askToDelete, copyButton, deleteButton, star, starButton } from "./acts.js";
import { clock, dayOf, h } from "./dom.js";
import { againButton, reuseButton } from "./stage.js";

const SWIPE_PIXELS = 48;

export class Viewer {
  constructor(root) {
    this.root = root;
    this.dialog = root.querySelector(".viewer");
    this.gallery = null; // set by the gallery
    this.dialog.addEventListener("keydown", (event) => this.pressed(event));
    this.dialog.addEventListener("touchstart", ({ touches: [first] }) => { this.touched = first; }, { passive: true });
    this.dialog.addEventListener("touchend", ({ changedTouches: [last] }) => this.swiped(last), { passive: true });
    root.addEventListener("atelier:reuse", () => this.dialog.close());
  }

  open(job, index) {
    this.at = { job, index };
    this.draw();
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowRight") this.walk(1);
    else if (event.key === "ArrowLeft") this.walk(-1);
    else if (event.key === "s") star(this.root, this.at.job);
    else if (event.key === "Delete") askToDelete(this.root, this.at.job);
    else return;
    event.preventDefault();
  }

  swiped(last) {
    const across = last.clientX - this.touched.clientX;
    const along = Math.abs(last.clientY - this.touched.clientY);
    const isZoomed = this.dialog.querySelector(".viewer-picture.zoomed") || visualViewport?.scale > 1;
    if (isZoomed || Math.abs(across) < SWIPE_PIXELS || along > Math.abs(across)) return;
    this.walk(across < 0 ? 1 : -1);
  }

  async walk(by) {
    let there = this.beside(by);
    if (!there && by > 0 && (await this.gallery.fetchMore())) there = this.beside(by);
    if (there && this.dialog.open) this.open(there.job, there.index);
  }

  beside(by) {
    const all = this.album();
    const here = all.findIndex((one) => this.isHere(one));
    return here < 0 ? undefined : all[here + by];
  }

  isHere({ job, index }) {
    return job.id === this.at.job.id && index === this.at.index;
  }

  album() {
    const shown = this.gallery.shown;
    const newest = this.newest && !this.gallery.found ? [this.newest] : [];
    return [...newest, ...shown].flatMap((job) => job.pictures
      .map((picture, index) => ({ job, index, picture }))
      .filter(({ picture }) => !picture.refused));
  }

  // Its job was starred or deleted: draw it anew, or go on to the next one.
  changed(job, before) {
    if (!this.dialog.open || job.id !== this.at.job.id) return;
    if (!job.deleted) {
      this.at.job = job;
      this.draw();
      return;
    }
    const last = before.findLastIndex((one) => one.job.id === job.id);
    const next = before[last + 1] ?? before[before.findIndex((one) => one.job.id === job.id) - 1];
    if (next) this.open(next.job, next.index);
    else this.dialog.close();
  }

  draw() {
    const { job, index } = this.at;
    const picture = job.pictures[index];
    const all = this.album();
    const here = all.findIndex((one) => this.isHere(one));
    const hasMore = Boolean(this.gallery.shelf.next);
    const held = this.dialog.open && document.activeElement?.dataset.act;
    this.dialog.setAttribute("aria-label", job.prompt);
    this.dialog.replaceChildren(this.canvas(job, picture, all.length, here, hasMore),
      this.panel(job, picture, here < 0 ? "" : `${here + 1} of ${all.length}${hasMore ? " and more" : ""}`),
      h("button", { type: "button", class: "viewer-close", "data-act": "close", "aria-label": "Close",
        onclick: () => this.dialog.close() }));
    // Drawing anew took the focus away; without it inside, the dialog would hear no more keys.
    const again = [...this.dialog.querySelectorAll("button:not(:disabled), a")];
    if (this.dialog.open) (again.find((one) => one.dataset.act === held) ?? again[0]).focus();
    for (const one of [all[here - 1], all[here + 1]]) if (one) new Image().src = `/media/${one.picture.id}`;
  }

  canvas(job, picture, count, here, hasMore) {
    const step = (label, act, by, isEnd) => h("button", { type: "button", class: `viewer-step ${act}`, "data-act": act,
      "aria-label": label, title: label, disabled: isEnd, onclick: () => this.walk(by) });
    const image = h("img", { src: `/media/${picture.id}`, alt: job.prompt, width: picture.width,
      height: picture.height, style: `--aspect:${picture.width / picture.height}` });
    const frame = h("div", { class: "viewer-picture" }, image);
    image.addEventListener("click", () => {
      const isSmaller = image.getBoundingClientRect().width < picture.width / devicePixelRatio;
      if (isSmaller || frame.classList.contains("zoomed")) frame.classList.toggle("zoomed");
    });
    return h("div", { class: "viewer-canvas" }, frame, step("Previous", "back", -1, here <= 0),
      step("Next", "on", 1, here < 0 || (here >= count - 1 && !hasMore)));
  }

  panel(job, picture, place) {
    const rows = [["Model", job.model_name], ["Size", `${job.width} × ${job.height} px`],
      ["Seed", picture.seed], ["Price", job.images > 1 ? `${job.price} for ${job.images}` : job.price],
      ["Made", `${dayOf(job.created_at)}, ${clock(job.created_at)}`]];
    for (const lora of job.loras ?? []) rows.splice(1, 0, ["LoRA", `${lora.name}, strength ${lora.strength}`]);
    return h("div", { class: "viewer-panel" },
      h("p", { class: "viewer-place muted small" }, place),
      h("p", { class: "viewer-prompt", dir: "auto" }, job.prompt),
      h("div", { class: "acts" }, starButton(this.root, job), copyButton(job), deleteButton(this.root, job)),
      h("dl", { class: "rows" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, `${value}`)))),
      h("div", { class: "stack" },
        h("a", { class: "button primary", "data-act": "download", href: `/media/${picture.id}?download=1`, download: true },
          "Download"),
        reuseButton(this.root, job), againButton(this.root, job)),
      h("p", { class: "muted small" }, "The file carries its watermark, its settings and a signature. ",
        h("a", { href: "/verify" }, "What they prove")),
      h("p", { class: "small" }, h("a", { href: `/pictures/${picture.id}/report` }, "Report this picture")));
  }
}
