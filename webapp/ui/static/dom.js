// Builds elements without HTML strings: a prompt is somebody's text and never becomes markup.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const ACTIVE = new Set(["queued", "running"]);

export function facts(job) {
  const price = ACTIVE.has(job.state) ? `${job.price} on hold` : job.price;
  const isFree = !ACTIVE.has(job.state) && job.state !== "finished";
  return [job.model_name, `${job.width} × ${job.height}`, `seed ${job.seed}`, isFree ? "free" : price];
}

export function signal(root, name, detail) {
  root.dispatchEvent(new CustomEvent(`atelier:${name}`, { detail, bubbles: true }));
}

const DAY = 86_400_000;

export function dayOf(iso) {
  const date = new Date(iso);
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  if (date >= midnight) return "Today";
  if (date >= midnight - DAY) return "Yesterday";
  const year = date.getFullYear() === midnight.getFullYear() ? undefined : "numeric";
  return date.toLocaleDateString(undefined, { day: "numeric", month: "long", year });
}

export const clock = (iso) =>
  new Date(iso).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
