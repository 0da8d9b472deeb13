// Every earlier picture, a strip a job, by day; older pages are fetched when asked for. A search, or
// the starred ones alone, is a second shelf that the server fills; the first one waits behind it.
import { starButton } from "./acts.js";
import { dayOf, facts, h } from "./dom.js";

const TYPED_MS = 200; // a search begins when the fingers rest

export class Gallery {
  constructor(root, viewer) {
    this.root = root;
    this.viewer = viewer;
    const at = (name) => root.querySelector(name);
    this.list = at(".gallery");
    this.more = at(".gallery-more");
    this.bar = at(".gallery-bar");
    this.search = at(".gallery-search");
    this.onlyStarred = at(".gallery-starred");
    this.none = at(".gallery-none");
    this.all = { jobs: new Map(), next: null };
    this.found = null;
    this.shown = [];
    this.more.addEventListener("click", () => this.fetchMore().then((first) => this.focus(first)));
    this.search.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.narrow(), TYPED_MS);
    });
    this.onlyStarred.addEventListener("click", () => {
      const isOn = this.onlyStarred.getAttribute("aria-pressed") !== "true";
      this.onlyStarred.setAttribute("aria-pressed", String(isOn));
      this.narrow();
    });
    viewer.gallery = this;
  }

  get shelf() {
    return this.found ?? this.all;
  }

  replace({ jobs, next }) {
    this.all = { jobs: new Map(jobs.map((job) => [job.id, job])), next };
    if (this.found) this.narrow();
  }

  isEmpty() {
    return this.all.jobs.size === 0;
  }

  // The newest of all, for the stage once what stood there is deleted.
  first() {
    return [...this.all.jobs.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1))[0];
  }

  // Whether a finished job is on this shelf or belongs to a page that was not fetched yet.
  reaches(job) {
    const oldest = Math.min(...[...this.all.jobs.values()].map((one) => Date.parse(one.created_at)));
    const isFinished = job.state === "finished";
    return isFinished && (this.all.jobs.has(job.id) || Boolean(this.all.next && Date.parse(job.created_at) < oldest));
  }

  // A job that was starred or deleted, here or in another tab.
  put(job) {
    for (const shelf of [this.all, this.found]) {
      if (!shelf?.jobs.has(job.id)) continue;
      if (job.deleted) shelf.jobs.delete(job.id);
      else shelf.jobs.set(job.id, job);
    }
  }

  query() {
    const words = this.search.value.trim();
    const starred = this.onlyStarred.getAttribute("aria-pressed") === "true";
    const asked = new URLSearchParams({ ...(words && { words }), ...(starred && { starred }) });
    return asked.toString();
  }

  async narrow() {
    const query = this.query();
    if (!query) {
      this.found = null;
      this.redraw();
      return;
    }
    const page = await this.fetchPage(query);
    if (!page || query !== this.query()) return; // an answer to words that have changed since
    this.found = { jobs: new Map(page.jobs.map((job) => [job.id, job])), next: page.next };
    this.redraw();
  }

  async fetchPage(query) {
    this.list.setAttribute("aria-busy", "true");
    const answer = await fetch(`/gallery?${query}`).catch(() => null);
    this.list.removeAttribute("aria-busy");
    this.root.querySelector(".gallery-error").hidden = Boolean(answer?.ok);
    return answer?.ok ? answer.json() : null;
  }

  // The next page of what is shown; returns its first job.
  async fetchMore() {
    const { shelf } = this;
    if (!shelf.next || this.more.disabled) return null;
    this.more.disabled = true;
    this.more.setAttribute("aria-busy", "true");
    const query = new URLSearchParams(this.found ? this.query() : "");
    query.set("before", shelf.next);
    const page = await this.fetchPage(query);
    this.more.disabled = false;
    this.more.removeAttribute("aria-busy");
    if (!page) return null;
    page.jobs.forEach((job) => shelf.jobs.set(job.id, job));
    shelf.next = page.next;
    this.redraw();
    return page.jobs[0];
  }

  focus(job) {
    if (job) this.list.querySelector(`[data-id="${job.id}"] button`)?.focus();
  }

  // Jobs that ended while the page was open come from the live feed; the staged one is shown above.
  draw(done, staged) {
    done.forEach((job) => this.all.jobs.set(job.id, job));
    this.staged = staged;
    this.redraw();
  }

  redraw() {
    const isNarrowed = this.found !== null;
    this.shown = [...this.shelf.jobs.values()]
      .filter((job) => job.state === "finished" && (isNarrowed || job.id !== this.staged))
      .sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    this.bar.hidden = this.all.jobs.size === 0 && !isNarrowed;
    this.more.hidden = !this.shelf.next;
    this.none.hidden = !isNarrowed || this.shown.length > 0;
    if (!this.none.hidden) this.none.textContent = this.search.value.trim()
      ? "No prompt of yours has these words." : "Nothing is starred yet. Star a picture, and it stands here.";
    const key = this.shown.map(stripKey).join();
    if (this.key === key) return;
    this.key = key;
    const kept = new Map([...this.list.querySelectorAll("[data-key]")].map((el) => [el.dataset.key, el]));
    const held = this.list.contains(document.activeElement) && document.activeElement.closest("[data-id]");
    const days = Map.groupBy
      ? Map.groupBy(this.shown, (job) => dayOf(job.created_at))
      : new Map([["", this.shown]]);
    this.list.replaceChildren(...[...days].flatMap(([day, ofDay]) => [
      day ? h("h2", { class: "day" }, day) : null,
      h("ul", { class: "strips" }, ofDay.map((job) => kept.get(stripKey(job)) ?? this.strip(job))),
    ].filter(Boolean)));
    if (held) this.list.querySelector(`[data-id="${held.dataset.id}"] .strip-star`)?.focus();
  }

  strip(job) {
    const pictures = job.pictures.filter((picture) => !picture.refused);
    const style = `--aspect:${job.width / job.height};--count:${pictures.length || 1}`;
    return h("li", { class: "strip", "data-id": job.id, "data-key": stripKey(job), style },
      h("div", { class: "strip-pictures", "data-count": pictures.length }, pictures.length
        ? pictures.map((picture) => this.thumbnail(job, picture))
        : h("p", { class: "sheet sheet-words small" }, "Taken back by a reviewer.")),
      h("div", { class: "strip-caption" },
        h("p", { class: "strip-prompt", title: job.prompt, dir: "auto" }, job.prompt),
        h("p", { class: "strip-facts" }, facts(job).join(" · ")),
        starButton(this.root, job, "strip-star")));
  }

  thumbnail(job, picture) {
    return h("button", { type: "button", class: "picture",
      onclick: () => this.viewer.open(job, job.pictures.indexOf(picture)) },
    h("img", { src: `/media/${picture.id}/thumbnail`, loading: "lazy", decoding: "async",
      width: picture.width, height: picture.height, alt: job.prompt }));
  }
}

function stripKey(job) {
  const kept = job.pictures.filter((picture) => !picture.refused).length;
  return `${job.id}/${job.starred ? 1 : 0}/${kept}`;
}
