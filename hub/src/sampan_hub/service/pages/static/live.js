// Keeps the marked part of a page as the service tells it, sends its forms without leaving it, and counts what is picked.
// A page works without this script; it is then as old as its loading.

const PART = { "X-Sampan-Part": "1" };
const BREATH_MS = 300; // between two looks, however much happens
const RETRY_MS = [500, 1000, 2000, 5000];
const part = document.querySelector("[data-part]");
const away = document.getElementById("sampan-away");
const told = document.getElementById("sampan-told");

function tellTimes() {
  for (const time of document.querySelectorAll("time[data-since]")) {
    const minutes = Math.max(0, Math.floor((Date.now() - Date.parse(time.dateTime)) / 60000));
    const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
    const pairs = [[days, "d"], [hours, "h"], [minutes % 60, "min"]];
    const first = pairs.findIndex(([amount]) => amount);
    const words = pairs.slice(first, first + 2).filter(([amount]) => amount).map(([amount, unit]) => `${amount} ${unit}`);
    time.textContent = first < 0 ? "under a minute" : words.join(" ");
    time.title = new Date(time.dateTime).toLocaleString();
  }
  for (const time of document.querySelectorAll("time[data-at]")) {
    const at = new Date(time.dateTime);
    const clock = { hour: "2-digit", minute: "2-digit" };
    const isToday = at.toDateString() === new Date().toDateString();
    const day = { weekday: "short", day: "numeric", month: "short" };
    time.textContent = at.toLocaleString([], isToday ? clock : { ...day, ...clock });
    time.title = at.toLocaleString();
  }
}

function countPicked() {
  const picked = document.querySelectorAll("[name=pick]:checked").length;
  for (const button of document.querySelectorAll("[data-stop-picked]")) {
    button.disabled = picked === 0;
    button.textContent = picked ? `Stop selected (${picked})` : "Stop selected";
  }
  for (const all of document.querySelectorAll("[data-pick-all]")) {
    const boxes = document.querySelectorAll("[name=pick]").length;
    all.checked = boxes > 0 && picked === boxes;
    all.indeterminate = picked > 0 && picked < boxes;
    all.disabled = boxes === 0;
  }
}

function replacePart(text) {
  const fresh = document.createElement("template");
  fresh.innerHTML = text;
  if (fresh.innerHTML === part.dataset.shown) return;
  part.dataset.shown = fresh.innerHTML;
  const picked = new Set([...part.querySelectorAll("[name=pick]:checked")].map((box) => box.value));
  const open = new Set([...part.querySelectorAll("details[open][id]")].map((details) => details.id));
  const known = new Set([...part.querySelectorAll("details[id]")].map((details) => details.id));
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  const log = part.querySelector(".sampan-log");
  const wasAtEnd = !log || log.scrollTop + log.clientHeight >= log.scrollHeight - 5;
  const offset = log?.scrollTop ?? 0;
  part.replaceChildren(fresh.content);
  for (const box of part.querySelectorAll("[name=pick]")) box.checked = picked.has(box.value);
  for (const details of part.querySelectorAll("details[id]")) {
    if (known.has(details.id)) details.open = open.has(details.id);
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  const newLog = part.querySelector(".sampan-log");
  if (newLog) newLog.scrollTop = wasAtEnd ? newLog.scrollHeight : offset;
  tellTimes();
  countPicked();
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function follow() {
  const everyMs = Number(part.dataset.everyMs || 0);
  let revision = part.dataset.revision, failures = 0;
  for (;;) {
    await sleep(everyMs || BREATH_MS);
    if (document.hidden) await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
    try {
      const url = new URL(part.dataset.part, location.href);
      if (!everyMs && !failures) url.searchParams.set("revision", revision);
      const answer = await fetch(url, { headers: PART });
      if (answer.status === 401 || answer.status === 403 || answer.status === 404) return location.reload();
      if (!answer.ok) throw new Error(`answered ${answer.status}`);
      revision = answer.headers.get("X-Sampan-Revision") ?? revision;
      replacePart(await answer.text());
      failures = 0;
      away.hidden = true;
    } catch {
      away.hidden = false;
      await sleep(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
    }
  }
}

async function send(event) {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.hasAttribute("data-stay")) return;
  const button = event.submitter;
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(form, button));
  const question = button?.dataset.ask?.replace("{n}", fields.getAll("pick").length);
  if (question && !window.confirm(question)) return;
  const answer = await fetch(form.action, { method: "POST", body: fields, headers: PART }).catch(() => undefined);
  if (answer?.status === 401) return location.reload();
  told.textContent = answer?.ok ? "Stopping. It is gone from the list when it has ended." : "That did not work; nothing was stopped. Try again.";
  if (answer?.ok) for (const box of document.querySelectorAll("[name=pick]:checked")) box.checked = false;
  countPicked();
}

document.addEventListener("submit", send);
document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-pick-all]")) {
    for (const box of document.querySelectorAll("[name=pick]")) box.checked = target.checked;
  }
  countPicked();
});
for (const log of document.querySelectorAll(".sampan-log")) log.scrollTop = log.scrollHeight;
tellTimes();
countPicked();
setInterval(tellTimes, 15000);
if (part?.dataset.part) follow();
