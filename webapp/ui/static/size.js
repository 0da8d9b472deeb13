// Runs inside the size picker: shapes to choose from, exact numbers beside them. `props.value` is
// {width, height} as typed: the server says what is wrong with a number, not this script.
const shapes = element.querySelector(".shapes");
const [width, height] = element.querySelectorAll("input[type=text]");
const BOX = 17; // pixels of the longer side

const shape = (size) => {
  const label = document.createElement("label");
  label.className = "shape";
  label.title = `${size.width} × ${size.height}`;
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "aspect", className: "visually-hidden" });
  input.value = `${size.width}x${size.height}`;
  input.setAttribute("aria-label", `${size.aspect}, ${size.width} by ${size.height} pixels`);
  input.addEventListener("change", () => set(size.width, size.height));
  const drawn = document.createElement("span");
  drawn.className = "shape-box";
  const long = Math.max(size.width, size.height);
  drawn.style.width = `${(BOX * size.width) / long}px`;
  drawn.style.height = `${(BOX * size.height) / long}px`;
  const frame = document.createElement("span");
  frame.className = "shape-frame";
  frame.append(drawn);
  const words = document.createElement("span");
  words.className = "shape-words";
  words.textContent = size.aspect;
  label.append(input, frame, words);
  return label;
};

const set = (w, h) => {
  props.value = { width: String(w), height: String(h) };
  show();
  trigger("input");
};

const show = () => {
  const { width: w, height: h } = props.value;
  if (width.value !== String(w)) width.value = w;
  if (height.value !== String(h)) height.value = h;
  for (const input of shapes.querySelectorAll("input")) input.checked = input.value === `${w}x${h}`;
};

const draw = () => {
  shapes.replaceChildren(...props.choices.map(shape));
  show();
};

for (const input of [width, height]) {
  input.addEventListener("input", () => set(width.value.trim(), height.value.trim()));
}
draw();
watch("choices", draw);
watch("value", show);
