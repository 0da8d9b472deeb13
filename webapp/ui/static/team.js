// What the team page does beyond a desk: read a chosen file into its text field, and leave for the
// payment page of a first subscription.

document.addEventListener("change", async (event) => {
  const chosen = event.target.closest?.("[data-into]");
  if (!chosen?.files?.length) return;
  const field = document.getElementById(chosen.dataset.into);
  field.value = await chosen.files[0].text();
  field.focus();
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest?.("[data-leave]");
  if (!form) return;
  event.preventDefault();
  if (form.dataset.sending) return;
  form.dataset.sending = "yes";
  const wrong = form.querySelector(".field-error");
  wrong.textContent = "";
  try {
    const answer = await fetch(form.getAttribute("action"), {
      method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "application/json" },
    });
    const said = await answer.json();
    if (answer.ok) location.assign(said.url);
    else wrong.textContent = said.error.message;
  } catch {
    wrong.textContent = "The studio does not answer. Check the connection and try again.";
  } finally {
    delete form.dataset.sending;
  }
});
