// Keeps the page up to date: asks for it anew every few seconds and changes only what differs, so that scroll position,
// focus and selection stay. Without this script the page shows the state of when it was loaded.
"use strict";

const EVERY_MS = 3000;
const TIMEOUT_MS = 10000;

// A place in the old tree that can become `wanted` by changing its inside.
function alike(old, wanted) {
  return old.nodeType === wanted.nodeType && old.nodeName === wanted.nodeName && (old.id || "") === (wanted.id || "");
}

function patchAttributes(old, wanted) {
  for (const { name, value } of [...wanted.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name)) old.removeAttribute(name);
  }
}

// The child of `parent` with this id, so that rows that moved are moved and not written over.
function byId(parent, id) {
  return id ? [...parent.children].find((child) => child.id === id) : undefined;
}

function patch(old, wanted) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== wanted.nodeValue) old.nodeValue = wanted.nodeValue;
    return;
  }
  // What is being typed is not the server's to change.
  if (old.nodeName === "INPUT") return;
  patchAttributes(old, wanted);
  let place = old.firstChild;
  for (const child of [...wanted.childNodes]) {
    const known = byId(old, child.id);
    if (known) {
      if (known === place) place = place.nextSibling;
      else old.insertBefore(known, place);
      patch(known, child);
    } else if (place && alike(place, child)) {
      const next = place.nextSibling;
      patch(place, child);
      place = next;
    } else {
      const fresh = old.insertBefore(document.importNode(child, true), place);
      if (fresh.nodeName === "TR") fresh.classList.add("fresh");
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

let lastSeen = new Date();

function away(error) {
  const reasons = { TimeoutError: "no answer in time", TypeError: "it cannot be reached" };
  const reason = reasons[error.name] ?? error.message;
  const note = document.getElementById("away");
  note.textContent = `The server does not answer: ${reason}. What you see is from ${lastSeen.toISOString().slice(11, 19)} UTC.`;
  note.hidden = false;
}

async function update() {
  // A refusal of what was clicked: the same address, asked for anew, is the question before the click.
  if (document.querySelector("[data-still]")) return;
  const response = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (response.status >= 500) throw new Error(`status ${response.status}`);
  const text = await response.text();
  if (!response.headers.get("content-type")?.startsWith("text/html")) return;
  const wanted = new DOMParser().parseFromString(text, "text/html");
  for (const id of ["main", "asof"]) {
    const [old, fresh] = [document.getElementById(id), wanted.getElementById(id)];
    if (old && fresh) patch(old, fresh);
  }
  lastSeen = new Date();
  document.getElementById("away").hidden = true;
}

async function tick() {
  if (!document.hidden) {
    try {
      await update();
    } catch (error) {
      away(error);
    }
  }
  setTimeout(tick, EVERY_MS);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) update().catch(away);
});
setTimeout(tick, EVERY_MS);
