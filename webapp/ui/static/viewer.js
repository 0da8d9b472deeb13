// One picture as large as the window allows, with all that made it. Arrow keys walk the gallery.
import { clock, dayOf, h } from "./dom.js";
import { reuseButton } from "./stage.js";

export class Viewer {
  constructor(root) {
    this.root = root;
    this.dialog = root.querySelector(".viewer");
    this.neighbours = () => [];
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowRight") this.walk(1);
      else if (event.key === "ArrowLeft") this.walk(-1);
    });
    root.addEventListener("atelier:reuse", () => this.dialog.close());
  }

  open(job, index) {
    this.at = { job, index };
    this.draw();
    if (!this.dialog.open) this.dialog.showModal();
  }

  walk(by) {
    const all = this.album();
    const here = all.findIndex(({ job, index }) => job.id === this.at.job.id && index === this.at.index);
    const there = all[here + by];
    if (there) this.open(there.job, there.index);
  }

  album() {
    const jobs = [this.newest, ...(this.neighbours() ?? [])].filter(Boolean);
    return jobs.flatMap((job) => job.pictures
      .map((picture, index) => ({ job, index, picture }))
      .filter(({ picture }) => !picture.refused));
  }

  draw() {
    const { job, index } = this.at;
    const picture = job.pictures[index];
    const rows = [["Model", job.model_name], ["Size", `${job.width} × ${job.height} px`],
      ["Seed", picture.seed], ["Price", job.images > 1 ? `${job.price} for ${job.images}` : job.price],
      ["Made", `${dayOf(job.created_at)}, ${clock(job.created_at)}`]];
    const all = this.album();
    const here = all.findIndex((one) => one.job.id === job.id && one.index === index);
    const step = (label, by) => h("button", { type: "button", class: "button", onclick: () => this.walk(by),
      disabled: !all[here + by] }, label);
    const close = h("button", { type: "button", class: "viewer-close", "aria-label": "Close",
      onclick: () => this.dialog.close() });
    const focused = this.dialog.open && document.activeElement?.textContent;
    this.dialog.setAttribute("aria-label", job.prompt);
    this.dialog.replaceChildren(
      h("div", { class: "viewer-picture" }, h("img", { src: `/media/${picture.id}`, alt: job.prompt,
        style: `--aspect:${picture.width / picture.height}`, width: picture.width, height: picture.height })),
      h("div", { class: "viewer-panel" },
        h("p", { class: "viewer-prompt" }, job.prompt),
        h("dl", { class: "rows" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, `${value}`)))),
        h("div", { class: "stack" },
          h("a", { class: "button primary", href: `/media/${picture.id}?download=1`, download: true }, "Download"),
          reuseButton(this.root, { id: job.id }),
          h("div", { class: "turn" }, step("Previous", -1), step("Next", 1)))), close);
    // Drawing anew took the focus away; without it inside, the dialog would hear no more arrow keys.
    const again = [...this.dialog.querySelectorAll("button:not(:disabled), a")];
    if (this.dialog.open) (again.find((one) => one.textContent === focused) ?? again[0]).focus();
  }
}
