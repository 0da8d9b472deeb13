// The live half of the creator page: one EventSource, one map of jobs, and who draws what.
// The server's rows are the truth; this file only mirrors them, so that a reload, a second tab or
// an hour's absence shows the same. Connecting brings a snapshot; every later message one change.
import { withdrawQuestion } from "./acts.js";
import { ACTIVE, signal } from "./dom.js";
import { Gallery } from "./gallery.js";
import { offer } from "./prompt.js";
import { leaveForSignIn } from "./session.js";
import { drawOthers, drawStage, drawStep } from "./stage.js";
import { Viewer } from "./viewer.js";

const RETRY_MS = 2000; // the browser's own retry gives up on an HTTP error; ours does not
const HIDDEN_MS = 10_000; // a browser has six connections to a host; idle tabs in the back need none
const QUIET_MS = 10_000; // longer than a step of the largest model; a worker that died says nothing
const LOOK_MS = 1000;
const TITLE = document.title;

class Feed {
  constructor(root) {
    this.root = root;
    this.jobs = new Map();
    this.viewer = new Viewer(root);
    this.gallery = new Gallery(root, this.viewer);
    root.addEventListener("atelier:shelved", ({ detail }) => this.shelved(detail));
    root.addEventListener("atelier:say", ({ detail }) => this.say(detail));
    this.connect();
    setInterval(() => this.listen(), LOOK_MS);
    document.addEventListener("visibilitychange", () => this.seen(!document.hidden));
    window.addEventListener("pagehide", () => this.source.close());
  }

  connect() {
    const source = new EventSource("/events");
    this.source = source;
    const on = (kind, use) =>
      source.addEventListener(kind, (message) => use.call(this, JSON.parse(message.data)));
    on("snapshot", this.snapshot);
    on("job", this.job);
    on("step", this.step);
    on("studio", this.studio);
    on("ended", () => { source.close(); leaveForSignIn(); });
    source.onopen = () => this.offline(false);
    source.onerror = () => {
      this.offline(true);
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(() => this.reconnect(), RETRY_MS);
    };
  }

  // A tab in the back lets go of its stream unless it waits for a job; coming back brings a snapshot.
  seen(isVisible) {
    clearTimeout(this.hiding);
    if (isVisible && this.source.readyState === EventSource.CLOSED) this.connect();
    if (isVisible) return;
    this.hiding = setTimeout(() => {
      if (![...this.jobs.values()].some((job) => ACTIVE.has(job.state))) this.source.close();
    }, HIDDEN_MS);
  }

  async reconnect() {
    const answer = await fetch("/gallery?limit=1").catch(() => null); // a 401 leads to sign-in
    if (answer === null || answer.ok) this.connect();
    else if (answer.status === 403) location.reload();
    else setTimeout(() => this.reconnect(), RETRY_MS);
  }

  snapshot({ jobs, gallery, studio }) {
    this.jobs = new Map(jobs.map((job) => [job.id, job]));
    this.gallery.replace(gallery);
    this.studio(studio);
    this.root.dataset.state = "ready";
    this.draw();
  }

  job({ job, said }) {
    const isOld = this.jobs.get(job.id)?.state === "finished" || this.gallery.reaches(job);
    if (job.deleted || isOld) {
      this.shelved(job);
      return;
    }
    const before = this.jobs.get(job.id);
    this.jobs.set(job.id, { ...before, ...job, preview: job.preview ?? before?.preview });
    if (said) this.say(said);
    this.draw();
  }

  // A finished job that was starred, deleted or taken back: here, in another tab, by a reviewer.
  shelved(job) {
    const before = this.viewer.album();
    if (job.deleted) {
      withdrawQuestion(this.root, job);
      this.jobs.delete(job.id);
    } else if (this.jobs.has(job.id)) this.jobs.set(job.id, job);
    this.gallery.put(job);
    this.draw();
    this.viewer.changed(job, before);
  }

  step({ id, ...progress }) {
    const job = this.jobs.get(id);
    if (!job) return;
    Object.assign(job, progress, { state: "running", preview: progress.preview ?? job.preview,
      heardAt: Date.now(), quiet: false });
    if (!drawStep(this.root, job)) this.draw();
    this.name();
  }

  // A step that lasts too long is explained, until the next one or the sweep says more.
  listen() {
    for (const job of this.jobs.values()) {
      const isQuiet = job.state === "running" && Date.now() - job.heardAt > QUIET_MS;
      if (isQuiet === Boolean(job.quiet)) continue;
      job.quiet = isQuiet;
      if (job.state === "running") drawStep(this.root, job);
    }
  }

  // The tab says how far the newest job is, for whoever works in another one.
  name() {
    const job = [...this.jobs.values()].find((one) => one.state === "running");
    document.title = job?.step ? `${job.step}/${job.steps} · ${TITLE}` : TITLE;
  }

  studio({ available_micros: micros, worker, queue }) {
    const standing = `${micros} ${worker}`;
    if (this.standing !== undefined && this.standing !== standing) signal(this.root, "studio");
    this.standing = standing;
    const notice = this.root.querySelector(".worker-notice");
    if (notice.textContent !== (worker ?? "")) notice.textContent = worker ?? "";
    notice.hidden = !worker;
    let moved = false;
    for (const [id, place] of Object.entries(queue)) {
      const job = this.jobs.get(id);
      if (!job || (job.position === place.position && job.waiting === place.waiting)) continue;
      Object.assign(job, place);
      moved = true;
    }
    if (moved) this.draw();
  }

  draw() {
    const newestFirst = [...this.jobs.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    const newest = newestFirst[0] ?? this.gallery.first();
    this.viewer.newest = newest?.state === "finished" ? newest : null;
    drawStage(this.root, newest, this.viewer);
    drawOthers(this.root, newestFirst.slice(1).filter((job) => ACTIVE.has(job.state)));
    const done = newestFirst.slice(1).filter((job) => job.state === "finished");
    this.gallery.draw(done, newest?.id);
    this.name();
    const empty = !newest && this.gallery.isEmpty();
    this.root.querySelector(".feed-empty").hidden = !empty;
    document.documentElement.dataset.lastSeed =
      newestFirst.find((job) => job.seed !== null)?.seed ?? "";
    offer([...newestFirst, ...this.gallery.all.jobs.values()]);
  }

  offline(isOffline) {
    this.root.querySelector(".offline-notice").hidden = !isOffline;
  }

  say(sentence) {
    this.root.querySelector(".feed-said").textContent = sentence;
  }
}

function start() {
  const root = document.querySelector("#feed .feed");
  if (root && !root.dataset.started) {
    root.dataset.started = "yes";
    new Feed(root);
  }
  return Boolean(root);
}

// Gradio draws the page after this module has run.
if (!start()) {
  const watcher = new MutationObserver(() => start() && watcher.disconnect());
  watcher.observe(document.documentElement, { childList: true, subtree: true });
}
