// Forms are sent once, dangerous ones after a question, and <button data-copy="id"> copies the text of an element.

export function guardForms() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method === "dialog") return;
    const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
    if (question && !form.dataset.confirmed) {
      event.preventDefault();
      ask(question, event.submitter, () => {
        form.dataset.confirmed = "yes";
        form.requestSubmit(event.submitter);
      });
      return;
    }
    delete form.dataset.confirmed;
    if (form.method !== "post") return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
    // Only after the browser has gathered the fields: a disabled button would not be sent.
    setTimeout(() => event.submitter?.setAttribute("aria-busy", "true"));
  });
  // Back in the history brings the page as it was left.
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
    for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  });
  document.addEventListener("click", copy);
}

function ask(question, submitter, go) {
  const dialog = document.createElement("dialog");
  dialog.className = "sheet";
  const text = document.createElement("p");
  text.textContent = question;
  const buttons = document.createElement("div");
  buttons.className = "btn-list";
  const button = (label, look, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = `btn ${look}`;
    made.textContent = label;
    made.addEventListener("click", () => { dialog.close(); act(); });
    return made;
  };
  const cancel = button(document.body.dataset.cancel, "", () => {});
  buttons.append(cancel, button(submitter?.textContent.trim() || "OK", "btn-danger", go));
  dialog.append(text, buttons);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  cancel.focus();
}

async function copy(event) {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  if (!source) return;
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    if (button.dataset.label) return;
    button.dataset.label = button.textContent;
    button.textContent = document.body.dataset.copied;
    setTimeout(() => { button.textContent = button.dataset.label; delete button.dataset.label; }, 1_500);
  } catch {
    // Without the right to the clipboard the text is at least selected.
    getSelection().selectAllChildren(source);
  }
}
