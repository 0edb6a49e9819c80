"use strict";

// A carrier is asked while the page waits: a second click would ask again.
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

// The browser's Back shows the page as it was left.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button[data-idle]")) {
      button.textContent = button.dataset.idle;
      button.removeAttribute("aria-busy");
    }
  }
});

// What takes long goes on by itself, part by part, while the page shows how far it is.
for (const form of document.querySelectorAll("form[data-goes-on]")) {
  form.requestSubmit(form.querySelector("button"));
}

// Each carrier has its own names for the same things.
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
      input.setAttribute("aria-describedby", text.id);
    }
    text.textContent = help;
  };
  const show = () => {
    document.querySelector(".field-public_key").hidden = carrier.value !== "telnyx";
    if (!carrier.value) return;
    const names = document.querySelector(`.carrier-names[data-carrier=${carrier.value}]`).dataset;
    rename("account_id", names.accountId, names.accountIdHelp);
    rename("auth_token", names.authToken, names.authTokenHelp);
  };
  carrier.addEventListener("change", show);
  show();
}

// Of how a call is answered, only what goes with the choice.
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
