// Small behaviours by attribute; see templates/components/README.md. Pages work without them.

const UNITS = [
  ["year", 31557600], ["month", 2629800], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "long" });

function told(date) {
  const seconds = (date - Date.now()) / 1000;
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return seconds > 0 ? "in a moment" : "just now";
}

function tellTimes(root = document) {
  for (const element of root.querySelectorAll("time[data-relative]")) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    element.title = exact.format(date);
    const text = told(date);
    if (element.textContent !== text) element.textContent = text;
  }
}

function unhide(root = document) {
  for (const button of root.querySelectorAll("[data-copy][hidden], [data-reveal][hidden], [data-theme-toggle][hidden]")) {
    button.hidden = false;
  }
}

async function copy(button) {
  const source = document.querySelector(button.dataset.copy);
  if (!source) return;
  const before = button.innerHTML;
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    button.textContent = "Copied";
  } catch {
    source.closest("details")?.setAttribute("open", "");
    getSelection().selectAllChildren(source);
    button.textContent = "Press Ctrl+C";
  }
  button.setAttribute("aria-live", "polite");
  button.disabled = true;
  setTimeout(() => {
    button.innerHTML = before;
    button.disabled = false;
  }, 2000);
}

function reveal(button) {
  const field = document.querySelector(button.dataset.reveal);
  if (!field) return;
  const shown = field.type === "text";
  field.type = shown ? "password" : "text";
  button.setAttribute("aria-pressed", String(!shown));
  button.textContent = shown ? "Show" : "Hide";
}

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function nameToggle() {
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
  }
}

function toggleTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Kept for this page only.
  }
  nameToggle();
}

function guard(input) {
  const fits = input.value.trim() === input.dataset.confirm;
  for (const button of input.form?.querySelectorAll("[type=submit], button:not([type])") ?? []) button.disabled = !fits;
}

// What is drawn anew keeps the focus where it was; htmx itself sees to elements with an id only.
let focused = null;
function refocus(root) {
  if (focused === null || document.activeElement !== document.body) return;
  const same = [...root.querySelectorAll("a, button, summary")].find((one) => one.textContent === focused);
  same?.focus({ preventScroll: true });
  focused = null;
}

function prepare(root) {
  tellTimes(root);
  unhide(root);
  for (const input of root.querySelectorAll("input[data-confirm]")) guard(input);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy], [data-reveal], [data-theme-toggle]");
  if (!button) return;
  if (button.dataset.copy) copy(button);
  else if (button.dataset.reveal) reveal(button);
  else toggleTheme();
});
document.addEventListener("input", (event) => {
  if (event.target.matches?.("input[data-confirm]")) guard(event.target);
});
document.addEventListener("change", (event) => {
  event.target.closest?.("form[data-submit-on-change]")?.requestSubmit();
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const at = document.activeElement;
  focused = detail.target.contains(at) ? at.textContent : null;
});
document.addEventListener("htmx:load", (event) => {
  prepare(event.target);
  refocus(event.target);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameToggle);
addEventListener("pageshow", () => prepare(document));
setInterval(tellTimes, 30000);
prepare(document);
nameToggle();
