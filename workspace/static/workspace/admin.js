"use strict";

// The page waits while the server contacts a carrier; a second click would send the request twice.
for (const form of document.querySelectorAll("form[data-asks-carrier]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    const button = event.submitter;
    if (button && button.dataset.busy) {
      button.dataset.idle = button.textContent;
      button.textContent = button.dataset.busy;
      button.setAttribute("aria-busy", "true");
    }
  });
}

// The browser's Back button shows the page as it was left, so make its buttons usable again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button[data-idle]")) {
      button.textContent = button.dataset.idle;
      button.removeAttribute("aria-busy");
    }
  }
});

// Long work is done in steps: each page shows the progress and submits the next step.
for (const form of document.querySelectorAll("form[data-goes-on]")) {
  form.requestSubmit(form.querySelector("button"));
}

// Copy an id. Without the clipboard, as over http, the id is selected, so that the keyboard copies it.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const code = button.parentElement.querySelector("code");
  const word = button.firstElementChild;
  try {
    await navigator.clipboard.writeText(code.textContent);
    word.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    word.textContent = "Selected: copy it with the keyboard";
  }
  clearTimeout(button.timer);
  button.timer = setTimeout(() => { word.textContent = "Copy"; }, 3000);
});

// Each carrier has its own names for the account ID and the auth token.
const carrier = document.querySelector("#add-phone #id_integration");
if (carrier) {
  const rename = (field, label, help) => {
    const input = document.getElementById(`id_${field}`);
    document.querySelector(`label[for=${input.id}]`).textContent = `${label}:`;
    let text = document.getElementById(`id_${field}_carrier_help`);
    if (!text) {
      text = document.createElement("div");
      text.className = "help";
      text.id = `id_${field}_carrier_help`;
      input.closest(".form-row").append(text);
      input.setAttribute("aria-describedby", [input.getAttribute("aria-describedby"), text.id].filter(Boolean).join(" "));
    }
    text.textContent = help;
  };
  const show = () => {
    const words = carrier.value && document.querySelector(`.carrier[data-name=${carrier.value}]`).dataset;
    document.querySelector(".field-public_key").hidden = !words || !words.publicKeyHint;
    if (!words) return;
    rename("account_id", words.accountIdName, words.accountIdHint);
    rename("auth_token", words.authTokenName, words.authTokenHint);
    rename("public_key", "Public key", words.publicKeyHint);
  };
  carrier.addEventListener("change", show);
  show();
}

// Show only the call-handling fields that apply to the chosen action.
const action = document.getElementById("id_action");
if (action) {
  const row = (name) => {
    const input = document.getElementById(`id_${name}`);
    return input.closest(".form-row") || input.closest(".field");
  };
  const only = (name, choice) => {
    const one = row(name);
    one.hidden = action.value !== choice && !one.classList.contains("errors");
  };
  const show = () => {
    only("greeting", "voicemail");
    only("forward_to", "forward");
    only("record", "forward");
  };
  action.addEventListener("change", show);
  show();
}
