// All that changes something goes through the REST API, the same as for every other client: a form with data-url sends its
// fields as JSON, and what the API answers (an id, or an error with a hint) is shown in the page.

import { NO_ANSWER, show } from "./errors.js";

function body(form) {
  const result = {};
  for (const field of form.elements) {
    if (!field.name || field.value === "" || !field.checkVisibility()) continue; // a hidden choice is no choice
    if ((field.type === "radio" || field.type === "checkbox") && !field.checked) continue;
    const value =
      field.type === "checkbox" ? true
      : field.type === "number" ? Number(field.value)
      : "list" in field.dataset ? field.value.split(",").map((part) => part.trim()).filter(Boolean)
      : field.value;
    const path = field.name.split(".");
    const last = path.pop();
    path.reduce((inner, key) => (inner[key] ??= {}), result)[last] = value;
  }
  return result;
}

function alertOf(form) {
  return document.getElementById(form.dataset.alert ?? "") ?? form.querySelector("[role=alert]");
}

function clear(form) {
  alertOf(form).hidden = true;
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-errormessage");
  }
}

function complain(form, error) {
  const box = alertOf(form);
  show(box, error);
  const group = [...form.querySelectorAll("[data-codes]")].find((e) => e.dataset.codes.split(" ").includes(error.code));
  const field = group?.querySelector("input:not([type=radio]), select");
  if (field?.checkVisibility()) {
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-errormessage", box.id);
    field.focus();
  }
}

// A wish whose answer was lost is sent again under the same key: then it is the same job. Another wish has another key.
let sent = { text: "", key: "" };

function keyOf(text) {
  const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0"));
  if (sent.text !== text) sent = { text, key: random().join("") };
  return sent.key;
}

async function send(form) {
  const method = form.dataset.method;
  const request = { method, headers: { Accept: "application/json" } };
  if (form.elements.length > 1) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body(form));
    request.headers["Idempotency-Key"] = keyOf(form.dataset.url + request.body);
  }
  const response = await fetch(form.dataset.url, request);
  const answer = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw answer.error;
  return answer;
}

async function submit(form) {
  const button = form.querySelector("button:not([type=button])");
  clear(form);
  button.disabled = true;
  try {
    const answer = await send(form);
    if (form.dataset.visit) location.assign(form.dataset.visit.replace("{id}", answer.id));
    else document.body.dispatchEvent(new CustomEvent("service-event"));
  } catch (error) {
    const known = error?.message && error.code;
    complain(form, known ? error : NO_ANSWER);
    button.disabled = false;
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.url) return;
  event.preventDefault();
  if (!form.dataset.confirm || confirm(form.dataset.confirm)) submit(form);
});

document.addEventListener("click", async (event) => {
  const fill = event.target.closest("[data-fill]");
  if (fill) document.getElementById(fill.dataset.fill).value = fill.dataset.value;
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent);
    copy.textContent = "Copied";
  }
});

// The clipboard exists on https and on this machine only.
if (!navigator.clipboard) document.documentElement.classList.add("no-clipboard");
