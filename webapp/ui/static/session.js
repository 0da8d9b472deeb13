// A session that has ended leads to sign-in, on every page. Gradio shows nothing for a 401 or a
// 403 of its own requests, so its fetch is watched here; the way back is kept in `next`.
const plain = window.fetch.bind(window);
let leaving = false;

export function leaveForSignIn() {
  if (leaving) return;
  leaving = true;
  location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
}

window.fetch = async (...request) => {
  const response = await plain(...request);
  if (response.status === 401) leaveForSignIn();
  return response;
};

// The account menu closes by Escape and by a click elsewhere, as menus do.
document.addEventListener("keydown", (event) => {
  const open = document.querySelector(".site-account[open]");
  if (event.key !== "Escape" || !open) return;
  open.open = false;
  open.querySelector("summary").focus();
});
document.addEventListener("click", (event) => {
  const open = document.querySelector(".site-account[open]");
  if (open && !open.contains(event.target)) open.open = false;
});
