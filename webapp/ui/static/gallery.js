// Every earlier picture, a strip a job, by day; older pages are fetched when asked for.
import { dayOf, facts, h } from "./dom.js";

export class Gallery {
  constructor(root, viewer) {
    this.root = root;
    this.viewer = viewer;
    this.list = root.querySelector(".gallery");
    this.more = root.querySelector(".gallery-more");
    this.jobs = new Map();
    this.more.addEventListener("click", () => this.fetchMore());
    viewer.neighbours = () => this.shown;
  }

  replace({ jobs, next }) {
    this.jobs = new Map(jobs.map((job) => [job.id, job]));
    this.turn(next);
  }

  isEmpty() {
    return this.jobs.size === 0;
  }

  turn(next) {
    this.next = next;
    this.more.hidden = !next;
  }

  async fetchMore() {
    this.more.disabled = true;
    this.more.setAttribute("aria-busy", "true");
    const answer = await fetch(`/gallery?before=${encodeURIComponent(this.next)}`).catch(() => null);
    this.more.disabled = false;
    this.more.removeAttribute("aria-busy");
    this.root.querySelector(".gallery-error").hidden = Boolean(answer?.ok);
    if (!answer?.ok) return;
    const { jobs, next } = await answer.json();
    jobs.forEach((job) => this.jobs.set(job.id, job));
    this.turn(next);
    const first = jobs[0] && this.draw([], this.staged);
    first?.querySelector?.("button")?.focus();
  }

  // Jobs that ended while the page was open come from the live feed; the staged one is shown above.
  draw(done, staged) {
    done.forEach((job) => this.jobs.set(job.id, job));
    this.staged = staged;
    const jobs = [...this.jobs.values()]
      .filter((job) => job.id !== staged && job.state === "finished")
      .sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    this.shown = jobs;
    const key = jobs.map((job) => job.id).join();
    if (this.key === key) return;
    this.key = key;
    const kept = new Map([...this.list.querySelectorAll("[data-id]")].map((el) => [el.dataset.id, el]));
    const days = Map.groupBy
      ? Map.groupBy(jobs, (job) => dayOf(job.created_at))
      : new Map([["", jobs]]);
    this.list.replaceChildren(...[...days].flatMap(([day, ofDay]) => [
      day ? h("h2", { class: "day" }, day) : null,
      h("ul", { class: "strips" }, ofDay.map((job) => kept.get(job.id) ?? this.strip(job))),
    ].filter(Boolean)));
  }

  strip(job) {
    const pictures = job.pictures.filter((picture) => !picture.refused);
    const aspect = job.width / job.height;
    return h("li", { class: "strip", "data-id": job.id, style: `--aspect:${aspect};--count:${pictures.length}` },
      h("div", { class: "strip-pictures" }, pictures.map((picture) => h("button", {
        type: "button", class: "picture", onclick: () => this.viewer.open(job, job.pictures.indexOf(picture)) },
      h("img", { src: `/media/${picture.id}/thumbnail`, loading: "lazy", decoding: "async",
        width: picture.width, height: picture.height, alt: job.prompt })))),
      h("p", { class: "strip-prompt", title: job.prompt }, job.prompt),
      h("p", { class: "strip-facts" }, facts(job).join(" · ")));
  }
}
