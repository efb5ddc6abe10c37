// Live parts: <section data-live="URL" data-every="MS"> is fetched again while somebody looks at it. The answer is one element that
// takes its place; when it has no data-live, the refreshing ends. While the portal is away, parts are marked and asked for less often.
import { showTimes } from "./times.js";

const USUAL = 3_000;
const SLOWEST = 30_000;
const PATIENCE = 15_000;

/** Parts whose last fetch failed. */
const away = new Set();

export function startLive(root) {
  for (const part of root.querySelectorAll("[data-live]")) {
    // A part inside another comes anew with it.
    if (!part.parentElement?.closest("[data-live]")) keepFresh(part);
  }
}

function keepFresh(part) {
  let every = Number(part.dataset.every) || USUAL;
  let pause = every;
  let shown = "";
  let timer = 0;
  const key = {};

  const later = () => { clearTimeout(timer); timer = setTimeout(look, pause); };
  const look = async () => {
    if (!part.isConnected) { away.delete(key); note(); return; }
    if (document.hidden || isUsed(part)) { later(); return; }
    try {
      const answer = await fetch(part.dataset.live, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(PATIENCE) });
      // Signed out, removed, no longer allowed: the whole page says it.
      if ([401, 403, 404].includes(answer.status) || answer.redirected) { location.reload(); return; }
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const text = await answer.text();
      if (isUsed(part)) { later(); return; }
      if (text !== shown) { part = replace(part, text); shown = text; }
      part.classList.remove("stale");
      away.delete(key);
      every = Number(part.dataset.every) || every;
      pause = every;
    } catch {
      part.classList.add("stale");
      away.add(key);
      // Not all at once when it comes back.
      pause = Math.min(pause * 2, SLOWEST) * (0.8 + Math.random() * 0.4);
    }
    note();
    if (part.dataset.live) later(); else document.removeEventListener("visibilitychange", seen);
  };
  const seen = () => { if (!document.hidden) { pause = every; clearTimeout(timer); look(); } };
  document.addEventListener("visibilitychange", seen);
  later();
}

/** Does somebody type or select in it? Then it must not change under their hands. */
function isUsed(part) {
  const active = document.activeElement;
  if (part.contains(active) && active.matches("input:not([type=submit]), textarea, select")) return true;
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && part.contains(selection.anchorNode);
}

/** Puts the element of `text` in the place of `part`, with the same details open, places scrolled to and link focused. */
function replace(part, text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").body.firstElementChild;
  if (!fresh) return part;
  const open = new Map(named(part, "details").map(([name, details]) => [name, details.open]));
  for (const [name, details] of named(fresh, "details")) if (open.has(name)) details.open = open.get(name);
  const scrolled = new Map(named(part, "pre").map(([name, pre]) => [name, { top: pre.scrollTop, end: pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8 }]));
  const focused = part.contains(document.activeElement) ? named(part, "a, button, summary, pre").find(([, element]) => element === document.activeElement)?.[0] : undefined;
  part.replaceWith(fresh);
  for (const [name, pre] of named(fresh, "pre")) {
    const before = scrolled.get(name);
    if (before) pre.scrollTop = before.end ? pre.scrollHeight : before.top;
  }
  if (focused) named(fresh, "a, button, summary, pre").find(([name]) => name === focused)?.[1].focus({ preventScroll: true });
  showTimes(fresh);
  return fresh;
}

/** Elements with a name that is the same before and after: what they are and say, and the how-manyeth of these. */
function named(root, selector) {
  const seen = new Map();
  return [...root.querySelectorAll(selector)].map((element) => {
    const label = element.matches("pre") ? "" : (element.matches("details") ? element.querySelector("summary") : element)?.textContent.trim();
    const kind = `${element.tagName}#${element.id}|${element.getAttribute("href") ?? ""}|${label}`;
    const count = seen.get(kind) ?? 0;
    seen.set(kind, count + 1);
    return [`${kind}|${count}`, element];
  });
}

function note() {
  const box = document.querySelector(".portal-away");
  if (away.size === 0) { box?.remove(); return; }
  if (box) return;
  const fresh = document.createElement("div");
  fresh.className = "portal-away";
  fresh.setAttribute("role", "alert");
  fresh.textContent = document.body.dataset.offline;
  document.body.append(fresh);
}
