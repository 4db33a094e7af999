// Follows the proxy's events, and tries again for ever when it is gone. Shows nothing itself.

const SILENT_MS = 35_000; // three heartbeats
const RETRY_MS = [500, 1000, 2000, 4000];

/**
 * Calls `told` with each state, and `lost` with the reason whenever there is no connection. Where the page is hidden
 * nothing is asked for: nobody watches.
 */
export async function follow(url, told, lost) {
  for (let failures = 0; ; failures += 1) {
    await visible();
    const stop = new AbortController();
    const hidden = () => document.hidden && stop.abort();
    document.addEventListener("visibilitychange", hidden);
    try {
      await listen(url, stop, (state) => {
        failures = 0;
        told(state);
      });
      lost("keepwarm ended the connection");
    } catch (error) {
      if (!document.hidden) lost(error instanceof Refused ? error.message : "keepwarm does not answer");
    } finally {
      document.removeEventListener("visibilitychange", hidden);
      stop.abort();
    }
    await new Promise((wake) => setTimeout(wake, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]));
  }
}

class Refused extends Error {}

async function listen(url, stop, told) {
  let silence = setTimeout(() => stop.abort(), SILENT_MS);
  try {
    const response = await fetch(url, { signal: stop.signal, cache: "no-store" });
    if (!response.ok) {
      const text = (await response.text()).trim().slice(0, 300);
      throw new Refused(`keepwarm answers ${response.status}: ${text}`);
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(() => stop.abort(), SILENT_MS);
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      const last = events.findLast((event) => event.startsWith("data: "));
      if (last) told(JSON.parse(last.slice("data: ".length)));
    }
  } finally {
    clearTimeout(silence);
  }
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((wake) => document.addEventListener("visibilitychange", wake, { once: true }));
}
