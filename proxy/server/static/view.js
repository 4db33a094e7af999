// Puts a state into the page. Text only ever goes in as text: names of models come from clients.

import { count, countdown, duration, moment, rate, size, timesPrice } from "./words.js";

const TONES = 6;
const KINDS = {
  loaded: "loaded",
  evicted: "evicted",
  left: "left",
  regretted: "regret",
  failed: "failed",
  upstream: "Ollama",
  settings: "settings",
};
const CAUSES = {
  eviction: "to make room",
  room_ahead: "to have room ready",
  expiry: "not used any more",
  client: "a client asked for it",
  reload: "to be loaded again",
  spill: "to be loaded again",
};
const tones = new Map();
const at = (id) => document.getElementById(id);

/** Shows everything that changes only with a new state. */
export function show(state) {
  memory(state);
  residents(state);
  waits(state);
  decisions(state);
  others(state);
  settings(state);
  setText(at("version"), state.version);
  setText(at("simulated"), `simulated Ollama, ${state.speed} times as fast`);
  at("simulated").hidden = state.speed === 1;
}

/** Shows what changes with time alone; `now` in the proxy's unix seconds. */
export function tick(state, now) {
  for (const row of at("residents").children) {
    const { text, share, under } = left(row.resident, now);
    setText(row.querySelector(".left"), text);
    setText(row.querySelector(".until"), under);
    row.querySelector(".remaining").style.inlineSize = `${share * 100}%`;
    if (row.segment?.isConnected) setText(row.segment.querySelector(".left"), text);
  }
  for (const item of at("waits").children) {
    setText(item.querySelector(".since"), countdown(now - item.wait.since));
  }
  if (state.loading) {
    const { model, began_at: began, expected_seconds: expected } = state.loading;
    const text = `loading ${model}: ${duration(Math.max(0, now - began))} of about ${duration(expected)}`;
    setText(at("doing"), text);
  }
}

function left(resident, now) {
  const until = resident.kept_until;
  if (resident.leaving) return { text: "leaving", share: 0, under: CAUSES[resident.leaving] ?? resident.leaving };
  if (resident.busy) return { text: "in use", share: 1, under: count(resident.busy, "request") };
  if (resident.pinned) return { text: "pinned", share: 1, under: "never evicted" };
  if (until === null) return { text: "for ever", share: 1, under: "until someone needs the room" };
  const seconds = Math.max(0, until - now);
  const whole = Math.min(resident.ttl_seconds ?? Infinity, resident.keep_alive > 0 ? resident.keep_alive : Infinity);
  const share = Number.isFinite(whole) && whole > 0 ? Math.min(1, seconds / whole) : 1;
  return { text: countdown(seconds), share, under: `until ${moment(until, now, false)}` };
}

function memory(state) {
  const { used_bytes: used, budget_bytes: budget, headroom_bytes: free } = state;
  setText(at("used"), size(used));
  document.title = `${size(used)}${budget === null ? "" : ` of ${size(budget)}`} · keepwarm`;
  setText(at("of-budget"), budget === null ? "used, budget not known yet" : `of ${size(budget)} used`);
  setText(at("headroom"), free === null ? "" : free < 0 ? `${size(-free)} over the budget` : `${size(free)} free`);
  at("headroom").classList.toggle("over", free !== null && free < 0);
  setText(at("budget-source"), `Budget: ${state.budget_source}`);
  if (!state.loading) setText(at("doing"), state.operation ? state.operation.split(":")[0] : "");
  const whole = Math.max(budget ?? 0, used + (state.loading?.bytes ?? 0), 1);
  const segments = state.residents.map((resident) => ({ ...resident, loading: false }));
  if (state.loading && !state.residents.some((resident) => resident.model === state.loading.model)) {
    segments.push({ model: state.loading.model, vram_bytes: state.loading.bytes, loading: true });
  }
  sync(at("bar"), segments, newSegment, (element, segment) => {
    element.className = `segment ${segment.loading ? "loading" : `tone-${tone(segment.model)}`}`;
    element.classList.toggle("busy", Boolean(segment.busy));
    element.style.inlineSize = `${(100 * segment.vram_bytes) / whole}%`;
    element.title = `${segment.model}, ${size(segment.vram_bytes)}`;
    setText(element.querySelector(".name"), segment.model);
    setText(element.querySelector(".size"), size(segment.vram_bytes));
    setText(element.querySelector(".worth"), segment.loading ? "" : timesPrice(segment.worth, state.price));
    if (segment.loading) setText(element.querySelector(".left"), "loading");
  });
  const names = state.residents.map((resident) => `${resident.model} ${size(resident.vram_bytes)}`);
  const said = `${at("used").textContent} ${at("of-budget").textContent}, ${at("headroom").textContent}`;
  at("bar").setAttribute("aria-label", [said, ...names].join("; "));
}

function newSegment() {
  return element("div", "", [
    element("span", "name"),
    element("span", "size"),
    element("span", "left"),
    element("span", "worth"),
  ]);
}

function residents(state) {
  at("no-residents").hidden = state.residents.length > 0;
  setText(at("price"), state.price ? `${duration(state.price)} per GiB·h` : "none: memory is free until someone needs it");
  sync(at("residents"), state.residents, newResident, (row, resident) => {
    row.resident = resident;
    row.segment = [...at("bar").children].find((segment) => segment.key === resident.model);
    const spilled = resident.bytes - resident.vram_bytes;
    row.querySelector(".swatch").className = `swatch tone-${tone(resident.model)}`;
    setText(row.querySelector(".name"), resident.model);
    setText(row.querySelector(".size"), size(resident.bytes));
    setText(row.querySelector(".spilled"), spilled > 0 ? `${size(spilled)} not on the GPU` : "");
    setText(row.querySelector(".uses"), rate(resident.uses_per_hour));
    setText(row.querySelector(".load"), duration(resident.load_seconds));
    setText(row.querySelector(".worth"), resident.worth === null ? "–" : duration(resident.worth));
    setText(row.querySelector(".times"), timesPrice(resident.worth, state.price));
    setText(row.querySelector(".why"), resident.reason || "loaded by someone else");
    row.classList.toggle("busy", Boolean(resident.busy));
  });
}

function newResident() {
  return tableRow([
    heading("model", [element("span", "swatch"), element("span", "name")]),
    cell("number", "Size", [element("span", "size"), element("small", "spilled")]),
    cell("number uses", "Uses per hour"),
    cell("number load", "Load time"),
    cell("number", "Worth", [element("span", "worth"), element("small", "times")]),
    cell("kept", "Kept for", [
      element("span", "left"),
      element("span", "track", [element("span", "remaining")]),
      element("small", "until"),
    ]),
    cell("why", "Why"),
  ]);
}

function waits(state) {
  at("no-waits").hidden = state.waits.length > 0;
  setText(at("waiting-count"), state.waiting ? String(state.waiting) : "");
  sync(at("waits"), state.waits, newWait, (item, wait) => {
    item.wait = wait;
    setText(item.querySelector(".name"), wait.model);
    setText(item.querySelector(".requests"), count(wait.requests, "request"));
    setText(item.querySelector(".reason"), wait.reason);
  });
  const saved = typeof state.saved === "number" ? state.saved : state.saved?.seconds;
  at("saved").hidden = typeof saved !== "number";
  if (typeof saved === "number") {
    setText(at("saved"), savedWords(saved));
    at("saved").classList.toggle("worse", saved < 0);
  }
}

function savedWords(seconds) {
  const time = duration(Math.abs(seconds));
  return seconds >= 0
    ? `${time} of waiting saved, compared with Ollama alone`
    : `${time} more waiting than with Ollama alone`;
}

function newWait() {
  return element("li", "", [
    element("span", "name"),
    element("span", "since"),
    element("span", "detail", [element("span", "requests"), element("span", "reason")]),
  ]);
}

function decisions(state) {
  at("no-decisions").hidden = state.decisions.length > 0;
  const keyed = state.decisions.map((decision) => ({ ...decision, key: `${decision.at} ${decision.kind}` }));
  sync(at("decisions"), keyed, newDecision, (item, decision) => {
    item.className = decision.kind;
    setText(item.querySelector("time"), moment(decision.at, state.at));
    item.querySelector("time").dateTime = new Date(decision.at * 1000).toISOString();
    setText(item.querySelector(".kind"), KINDS[decision.kind] ?? decision.kind);
    setText(item.querySelector(".name"), decision.model ?? "");
    setText(item.querySelector(".reason"), decision.reason);
  });
}

function newDecision() {
  return element("li", "", [
    element("time"),
    element("span", "kind"),
    element("span", "name"),
    element("span", "reason"),
  ]);
}

function others(state) {
  const here = new Set(state.residents.map((resident) => resident.model));
  const away = state.models.filter((model) => !here.has(model.model));
  const known = state.models_known - here.size;
  setText(at("others-count"), known > away.length ? `the ${away.length} most used of ${known}` : "");
  at("no-others").hidden = away.length > 0;
  at("others").parentElement.hidden = away.length === 0;
  sync(at("others"), away, newOther, (row, model) => {
    setText(row.querySelector(".name"), model.model);
    setText(row.querySelector(".size"), size(model.bytes));
    setText(row.querySelector(".uses"), rate(model.uses_per_hour));
    setText(row.querySelector(".load"), duration(model.load_seconds));
    setText(row.querySelector(".last"), model.last_used_at ? moment(model.last_used_at, state.at, false) : "never");
  });
}

function newOther() {
  return tableRow([
    heading("model", [element("span", "name")]),
    cell("number size", "Size"),
    cell("number uses", "Uses per hour"),
    cell("number load", "Load time"),
    cell("last", "Last used"),
  ]);
}

function settings(state) {
  const { file, error, after_restart: late, reloads_ok: good, in_force: values } = state.settings;
  const from = file ?? "No file: defaults and the environment";
  const result = error ? "the last change was refused, what was good before stays" : "in force";
  const later = late.length ? `; after a restart: ${late.join(", ")}` : "";
  setText(at("reload"), `${from}: ${result}${good ? `, read again ${count(good, "time")}` : ""}${later}.`);
  at("reload").classList.toggle("refused", Boolean(error));
  at("problems").hidden = !error;
  setText(at("problems"), error ?? "");
  const lines = Object.entries(values ?? {}).map(([key, value]) => ({ key, value }));
  sync(at("settings"), lines, () => element("div", "", [element("dt"), element("dd")]), (line, { key, value }) => {
    setText(line.querySelector("dt"), key);
    setText(line.querySelector("dd"), value);
  });
}

/** A colour of its own for each model that is shown in the bar, the same for as long as the page is open. */
function tone(model) {
  if (!tones.has(model)) tones.set(model, tones.size % TONES);
  return tones.get(model);
}

/** Makes the children of `parent` those of `items`, in their order; what was there before is kept and updated. */
function sync(parent, items, create, update) {
  const old = new Map([...parent.children].map((child) => [child.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = item.key ?? item.model;
    const child = old.get(key) ?? create();
    old.delete(key);
    child.key = key;
    update(child, item);
    if (child === next) next = child.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const child of old.values()) child.remove();
}

function element(name, className = "", children = []) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function tableRow(cells) {
  const row = element("tr", "", cells);
  row.setAttribute("role", "row");
  return row;
}

function cell(className, label, children = []) {
  const made = element("td", className, children);
  made.setAttribute("role", "cell");
  made.dataset.label = label;
  return made;
}

function heading(className, children) {
  const made = element("th", className, children);
  made.scope = "row";
  made.setAttribute("role", "rowheader");
  return made;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
