// Runs inside the row of LoRAs: `props.choices` as boxes in a panel, `props.value.chosen` as a list with
// a slider and a number each. A team without any sees no row; what does not fit the model says so.
const SEARCH_FROM = 9; // fewer are seen at a glance
const STEP = 0.05;

const part = (name) => element.querySelector(`.${name}`);
const [bar, menu, search, list, note, chosen, said] =
  ["lora-bar", "lora-add", "lora-search", "lora-list", "lora-note", "lora-chosen", "lora-said"].map(part);

const make = (tag, given = {}, ...inside) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "class") made.className = value;
    else if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...inside);
  return made;
};

const uses = () => props.value?.chosen ?? [];
const fits = (choice) => choice.models.includes(props.model);
const known = (id) => props.choices.find((choice) => choice.id === id);

const set = (changed, words) => {
  props.value = { chosen: changed };
  if (words) said.textContent = words;
  trigger("input");
};

const strengthOf = (words) => {
  const number = Number.parseFloat(String(words).replace(",", "."));
  return Number.isFinite(number) ? Math.min(Math.max(number, -props.strength), props.strength) : null;
};

// One chosen LoRA. While its slider moves, only the number beside it is written.
const row = (use) => {
  const name = known(use.lora)?.name ?? use.name ?? "A LoRA";
  const isFit = !known(use.lora) || fits(known(use.lora));
  const change = (strength) => set(uses().map((one) => (one.lora === use.lora ? { ...one, strength } : one)));
  const slider = make("input", { type: "range", min: -props.strength, max: props.strength, step: STEP,
    value: use.strength, "aria-label": `Strength of ${name}` });
  const number = make("input", { type: "text", inputMode: "decimal", autocomplete: "off", class: "lora-number",
    value: String(use.strength), "aria-label": `Strength of ${name} as a number` });
  slider.addEventListener("input", () => { number.value = slider.value; change(Number(slider.value)); });
  number.addEventListener("change", () => {
    const strength = strengthOf(number.value) ?? use.strength;
    number.value = slider.value = String(strength);
    change(strength);
  });
  const drop = make("button", { type: "button", class: "button quiet lora-drop", "aria-label": `Leave out ${name}`,
    textContent: "×" });
  drop.addEventListener("click", () => {
    set(uses().filter((one) => one.lora !== use.lora), `${name} is left out.`);
    draw();
    menu.querySelector("summary").focus();
  });
  const words = make("span", { class: "lora-name", title: name }, name);
  if (!isFit) words.append(make("span", { class: "lora-unfit" }, " does not fit this model"));
  const made = make("li", {}, words, slider, number, drop);
  made.dataset.lora = use.lora;
  return made;
};

const box = (choice) => {
  const isChosen = uses().some((use) => use.lora === choice.id);
  const input = make("input", { type: "checkbox", checked: isChosen, "aria-label": choice.name,
    disabled: !isChosen && uses().length >= props.most });
  input.addEventListener("change", () => {
    const others = uses().filter((use) => use.lora !== choice.id);
    if (input.checked) set([...others, { lora: choice.id, name: choice.name, strength: 1 }], `${choice.name} is chosen.`);
    else set(others, `${choice.name} is left out.`);
    draw();
    list.querySelector(`[data-lora="${choice.id}"] input`)?.focus();
  });
  const head = make("span", {}, make("span", { class: "choice-name" }, choice.name));
  if (choice.triggers) {
    head.append(make("span", { class: "choice-note", id: `note-${choice.id}` }, `Trigger words: ${choice.triggers}`));
    input.setAttribute("aria-describedby", `note-${choice.id}`);
  }
  const made = make("label", { class: "choice-card lora-box" }, input, head);
  made.dataset.lora = choice.id;
  return made;
};

const drawList = () => {
  const all = props.choices.filter(fits);
  const wanted = search.value.trim().toLowerCase();
  const found = all.filter((choice) => choice.name.toLowerCase().includes(wanted));
  search.hidden = all.length < SEARCH_FROM;
  list.replaceChildren(...found.map(box));
  if (!all.length) note.textContent = "None of the team’s LoRAs fits this model.";
  else if (!found.length) note.textContent = "No LoRA has this in its name.";
  else note.textContent = uses().length >= props.most ? `${props.most} are chosen, which is the most a picture takes.` : "";
};

const draw = () => {
  bar.hidden = !props.choices.length && !uses().length;
  chosen.replaceChildren(...uses().map(row));
  drawList();
};

// Told anew from outside: settings loaded again, a list that changed. Not under a hand that moves a slider.
const told = () => {
  const rows = [...chosen.children];
  const isSame = rows.map((one) => one.dataset.lora).join() === uses().map((use) => use.lora).join();
  if (isSame && chosen.contains(document.activeElement)) return;
  draw();
};

search.addEventListener("input", drawList);
menu.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.stopPropagation();
  menu.open = false;
  menu.querySelector("summary").focus();
});
menu.addEventListener("toggle", () => {
  if (!menu.open) return;
  drawList();
  (search.hidden ? list.querySelector("input:not(:disabled)") : search)?.focus();
});
// By the way that was clicked: a box is drawn anew under the click, and no longer inside.
document.addEventListener("click", (event) => { if (!event.composedPath().includes(menu)) menu.open = false; });
draw();
watch("choices", told);
watch("model", told);
watch("value", told);
