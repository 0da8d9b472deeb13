// Runs inside the model picker: draws `props.choices` as radio buttons in a panel that opens, and keeps
// `props.value`. A choice that cannot be made here stays visible, disabled, with its reason.
const menu = element.querySelector("details");
const list = element.querySelector(".choices");
const make = (tag, className, text) => {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const card = (choice) => {
  const label = make("label", "choice-card");
  const input = make("input", "visually-hidden");
  Object.assign(input, { type: "radio", name: "model", value: choice.id });
  input.disabled = Boolean(choice.problem);
  input.addEventListener("change", () => {
    props.value = choice.id;
    show();
    trigger("input");
  });
  label.addEventListener("click", (event) => { if (event.detail && !input.disabled) menu.open = false; });
  const head = make("span", "choice-head");
  head.append(make("span", "choice-name", choice.name), make("span", "choice-aside", choice.aside));
  label.append(input, head, make("span", "choice-note", choice.note));
  if (choice.problem) label.append(make("span", "choice-problem", choice.problem));
  return label;
};

const show = () => {
  for (const input of list.querySelectorAll("input")) input.checked = input.value === props.value;
  const chosen = props.choices.find((choice) => choice.id === props.value);
  element.querySelector(".chosen").textContent = chosen?.name ?? "Choose a model";
};

const draw = () => {
  list.replaceChildren(...props.choices.map(card));
  show();
};

menu.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" && event.key !== "Enter") return;
  if (event.key === "Enter" && event.target.tagName !== "INPUT") return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
menu.addEventListener("toggle", () => { if (menu.open) list.querySelector(":checked")?.focus(); });
document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
draw();
watch("choices", draw);
watch("value", show);
