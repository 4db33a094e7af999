// Numbers as people read them. Knows nothing of the page.

const UNITS = [
  ["GiB", 2 ** 30],
  ["MiB", 2 ** 20],
  ["KiB", 2 ** 10],
];

/** Bytes to a tenth of a binary unit: '5.2 GiB'. */
export function size(bytes) {
  if (bytes === null) return "–";
  const [name, unit] = UNITS.find(([, least]) => Math.abs(bytes) >= least) ?? ["B", 1];
  return `${rounded(bytes / unit)} ${name}`;
}

/** A measured duration in seconds: '119 ms', '6.2 s', '12 min'. */
export function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 0.0005) return "0 ms";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 100) return `${rounded(seconds)} s`;
  return countdown(seconds);
}

/** Time that is left or has passed, in seconds; its width hardly changes while it runs: '1 h 05 min', '4:07'. */
export function countdown(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600), Math.floor(whole / 60)];
  if (days >= 2) return `${days} d ${hours % 24} h`;
  if (hours >= 1) return `${hours} h ${padded(minutes % 60)} min`;
  return `${minutes}:${padded(whole % 60)} min`;
}

/** How often, per hour: '31', '1.4', '0.02'. */
export function rate(perHour) {
  if (perHour >= 10) return String(Math.round(perHour));
  return perHour >= 0.1 || perHour === 0 ? perHour.toFixed(1) : perHour.toPrecision(1);
}

/** Worth as a multiple of the price, where there is a price: '24 × price'; above 100 it no longer matters how much. */
export function timesPrice(worth, price) {
  if (worth === null || !price) return "";
  const times = worth / price;
  if (times > 100) return "> 100 × price";
  return `${times >= 9.5 ? Math.round(times) : times.toFixed(1)} × price`;
}

/** Time of day of unix seconds: '14:03:07'; with the weekday where it is not the same day as `now`. */
export function moment(at, now, seconds = true) {
  const [when, today] = [new Date(at * 1000), new Date(now * 1000)];
  const format = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (seconds) format.second = "2-digit";
  if (when.toDateString() !== today.toDateString()) format.weekday = "short";
  return new Intl.DateTimeFormat("en-GB", format).format(when);
}

/** '1 request', '2 requests'. */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function rounded(number) {
  return number.toFixed(1).replace(/\.0$/, "");
}

function padded(number) {
  return String(number).padStart(2, "0");
}
