// The trial chat without page loads. The form works by itself; this makes the answer arrive as it is written.
import { events } from "./events.js";

const LOST = {
  title: "The connection was lost.",
  detail: "Your message is back in the box. Check your connection and send it again.",
};

function bubble(list, role, speaker) {
  const item = document.createElement("div");
  item.className = `bubble bubble--${role}`;
  const who = document.createElement("span");
  who.className = "visually-hidden";
  who.textContent = `${speaker}: `;
  const text = document.createElement("span");
  item.append(who, text);
  list.append(item);
  return { item, text };
}

async function explain(response) {
  try {
    const body = await response.json();
    const problem = body.error ?? body;
    if (problem.title) return problem;
  } catch {
    // Not JSON: say it in our own words.
  }
  return response.status === 429
    ? { title: "That was quick.", detail: "Wait a minute, then send it again." }
    : { title: "The assistant did not answer.", detail: "That is our fault. Your message is back in the box; try again in a minute." };
}

function setUp(chat) {
  const list = chat.querySelector("[data-bubbles]");
  list.scrollTop = list.scrollHeight;
  const form = chat.querySelector("form");
  if (!form) return;
  const box = form.elements.message;
  const button = form.querySelector("[type=submit]");
  const over = chat.querySelector("[data-chat-over]");

  function scroll() {
    list.scrollTop = list.scrollHeight;
  }

  function count(remaining) {
    chat.querySelector("[data-remaining]").textContent = remaining;
    chat.querySelectorAll("[data-pips] > *").forEach((pip, index) => {
      pip.classList.toggle("is-left", index < remaining);
    });
    if (remaining > 0) return;
    form.hidden = true;
    over.hidden = false;
    over.querySelector("a")?.focus({ preventScroll: true });
  }

  function fail({ title, detail, remaining }, message, spoken) {
    spoken.user.item.remove();
    if (!spoken.assistant.text.textContent) spoken.assistant.item.remove();
    const { item, text } = bubble(list, "failed", "Clawdet");
    const strong = document.createElement("strong");
    strong.textContent = title;
    text.append(strong, ` ${detail ?? ""}`);
    item.dataset.failed = "";
    if (!box.value) box.value = message;
    if (typeof remaining === "number") count(remaining);
  }

  async function listen(response, spoken) {
    for await (const { event, data } of events(response)) {
      if (event === "delta") spoken.assistant.text.append(data.text);
      else if (event === "error") return data;
      else if (event === "done") return void count(data.remaining);
      scroll();
    }
    return LOST;
  }

  async function exchange(message, spoken) {
    try {
      const response = await fetch(chat.dataset.chatUrl, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          Accept: "text/event-stream",
          "X-CSRFToken": document.querySelector("meta[name=csrf-token]").content,
        },
        body: JSON.stringify({ message }),
      });
      const streams = response.ok && response.headers.get("Content-Type")?.startsWith("text/event-stream");
      return streams ? await listen(response, spoken) : await explain(response);
    } catch {
      return LOST;
    }
  }

  async function send(message) {
    list.querySelectorAll("[data-failed]").forEach((item) => item.remove());
    chat.querySelector("[data-chips]")?.remove();
    const spoken = { user: bubble(list, "user", "You"), assistant: bubble(list, "assistant", "Assistant") };
    spoken.user.text.textContent = message;
    spoken.assistant.item.classList.add("is-streaming");
    box.value = "";
    button.disabled = true;
    list.setAttribute("aria-busy", "true");
    scroll();
    const failure = await exchange(message, spoken);
    spoken.assistant.item.classList.remove("is-streaming");
    list.removeAttribute("aria-busy");
    button.disabled = false;
    if (failure) fail(failure, message, spoken);
    scroll();
    if (!form.hidden) box.focus();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const message = box.value.trim();
    if (message && !button.disabled) send(message);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  for (const chip of chat.querySelectorAll("[data-suggest]")) {
    chip.addEventListener("click", () => {
      box.value = chip.textContent.trim();
      box.focus();
    });
  }
  chat.querySelector("[data-chips]")?.removeAttribute("hidden");
}

document.querySelectorAll("[data-chat]").forEach(setUp);
