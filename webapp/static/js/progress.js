// The birth of a server as it happens. EventSource resumes by itself with Last-Event-ID.

const FINAL = new Set(["complete", "failed", "suspended", "deleted"]);
const WORDS = { now: "in progress", done: "done", failed: "failed", waiting: "waiting" };

function duration(seconds) {
  const s = Math.max(0, Math.trunc(seconds));
  if (s < 1) return "under 1 s";
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.trunc(s / 60)} min${s % 60 ? ` ${s % 60} s` : ""}`;
  return `${Math.trunc(s / 3600)} h${Math.trunc((s % 3600) / 60) ? ` ${Math.trunc((s % 3600) / 60)} min` : ""}`;
}

function set(item, name, text) {
  const element = item.querySelector(`[data-${name}]`);
  if (element && element.textContent !== text) element.textContent = text;
}

function usual(item) {
  const { state, usualS } = item.dataset;
  if (!(usualS >= 1) || !["now", "waiting"].includes(state)) return "";
  return `${state === "now" ? " of about " : "about "}${duration(Number(usualS))}`;
}

function draw(item) {
  const { state, startedAt, elapsedS } = item.dataset;
  const elapsed = state === "now" && startedAt ? (Date.now() - Number(startedAt)) / 1000 : Number(elapsedS);
  if (state !== "waiting" && Number.isFinite(elapsed)) {
    set(item, "elapsed", duration(elapsed));
    item.querySelector("progress").value = elapsed;
  }
  set(item, "usual", usual(item));
}

function startClock(item) {
  const elapsed = Number(item.dataset.elapsedS ?? 0);
  if (item.dataset.state === "now") item.dataset.startedAt = Date.now() - elapsed * 1000;
  else delete item.dataset.startedAt;
}

function find(root, step) {
  const timeline = root.querySelector("[data-timeline]");
  const known = timeline?.querySelector(`[data-step="${CSS.escape(step)}"]`);
  if (known || !timeline?.lastElementChild) return known;
  const item = timeline.lastElementChild.cloneNode(true);
  item.dataset.step = step;
  delete item.dataset.elapsedS;
  delete item.dataset.usualS;
  for (const name of ["title", "detail", "elapsed", "usual"]) set(item, name, "");
  timeline.append(item);
  return item;
}

function onStep(root, told) {
  const item = find(root, told.step);
  if (!item) return;
  if (told.state) item.dataset.state = told.state;
  if (typeof told.elapsedS === "number") item.dataset.elapsedS = told.elapsedS;
  if (typeof told.usualS === "number" && told.usualS > 0) {
    item.dataset.usualS = told.usualS;
    item.querySelector("progress").max = told.usualS;
  }
  if (told.title) set(item, "title", told.title);
  if (told.detail !== undefined) set(item, "detail", told.detail ?? "");
  set(item, "state-word", `, ${WORDS[item.dataset.state] ?? item.dataset.state}`);
  if (item.dataset.state === "now") item.setAttribute("aria-current", "step");
  else item.removeAttribute("aria-current");
  startClock(item);
  draw(item);
}

function onLog(root, line) {
  const log = root.querySelector("[data-log]");
  if (!log) return;
  const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.querySelector("[data-log-empty]")?.remove();
  const item = document.createElement("li");
  if (line.failed) item.className = "is-failed";
  if (line.at) {
    const time = document.createElement("time");
    const at = new Date(line.at);
    time.textContent = Number.isNaN(at.getTime()) ? line.at : at.toISOString().slice(11, 19);
    item.append(time);
  }
  const text = document.createElement("span");
  text.textContent = line.text;
  item.append(text);
  log.querySelector("ol").append(item);
  if (follows) log.scrollTop = log.scrollHeight;
}

function watch(root) {
  const note = root.querySelector("[data-connection]");
  const say = (text) => {
    if (note && note.textContent !== text) note.textContent = text;
  };
  const source = new EventSource(root.dataset.progressUrl);
  const on = (name, handle) => source.addEventListener(name, (event) => handle(JSON.parse(event.data)));

  on("step", (told) => onStep(root, told));
  on("log", (line) => onLog(root, line));
  on("status", ({ status }) => {
    if (status === root.dataset.progressStatus || !FINAL.has(status)) return;
    source.close();
    location.reload();
  });
  source.addEventListener("open", () => say(""));
  source.addEventListener("error", () => {
    say(
      source.readyState === EventSource.CLOSED
        ? "This page has stopped listening. The work goes on; load the page again to see where it is."
        : "The connection was lost. The work goes on; trying to listen in again.",
    );
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

for (const root of document.querySelectorAll("[data-progress-url]")) {
  root.querySelectorAll("[data-step]").forEach(startClock);
  setInterval(() => root.querySelectorAll('[data-step][data-state="now"]').forEach(draw), 1000);
  const log = root.querySelector("[data-log]");
  if (log) log.scrollTop = log.scrollHeight;
  watch(root);
}
