// The page: the last state, the proxy's clock, and whether there is a proxy at all.

import { follow } from "./stream.js";
import { show, tick } from "./view.js";
import { countdown } from "./words.js";

const SOON_MS = 3000; // a restart is shorter than what is worth an alarm
let state = null;
let clock = { at: 0, read: 0 };
let gone = null;

const seconds = () => performance.now() / 1000;
const now = () => clock.at + (seconds() - clock.read) * state.speed;

function told(news) {
  if (state && state.version !== news.version) location.reload(); // another keepwarm brings another page
  state = news;
  clock = { at: news.at, read: seconds() };
  gone = null;
  show(state);
  step();
}

function lost(why) {
  gone = { since: gone?.since ?? performance.now(), why };
  step();
}

function step() {
  connection();
  if (state && !gone) tick(state, now());
}

function connection() {
  const line = document.getElementById("connection");
  const since = gone ? performance.now() - gone.since : 0;
  let [kind, text] = ["waiting", "Asking keepwarm …"];
  if (gone) {
    kind = since > SOON_MS ? "gone" : "waiting";
    const stale = state ? ` What is shown is ${age(since)} old.` : "";
    text = kind === "gone" ? `${gone.why}; trying again.${stale}` : "Connecting again …";
  } else if (state) {
    kind = state.upstream_known ? "live" : "trouble";
    text = state.upstream_known ? "Live" : "Ollama does not answer; requests pass as they come";
  }
  line.dataset.state = kind;
  document.body.classList.toggle("stale", kind === "gone");
  if (line.textContent !== text) line.textContent = text;
}

/** In steps, so that a screen reader is not told every second. */
function age(ms) {
  return ms < 60_000 ? "some seconds" : countdown(Math.floor(ms / 60_000) * 60);
}

setInterval(step, 250);
void follow("events", told, lost);
