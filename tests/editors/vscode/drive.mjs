// Drives VS Code from a test: one JSON request a line on stdin, one JSON answer a line on stdout, and an event for
// every console error of the window. It ends when stdin does.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const settings = JSON.parse(process.argv[2]);
const { chromium } = createRequire(import.meta.url)(settings.playwright);

const TICK_MS = 100;
const ANSWER_LIMIT_MS = 60_000;
/** What this VS Code says because no native module was compiled and it has no service worker. */
const NOISE = ["status of 404", "code (404)", "[Service Worker]", "bindings file", "build/Release/watchdog"];
const AsyncFunction = (async () => {}).constructor;

const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `look` answers something else than nothing; a failure in between may be one of a moment. */
async function until(what, limitMs, look) {
  const deadline = Date.now() + limitMs;
  let problem = "it never came";
  while (Date.now() < deadline) {
    try {
      const value = await look();
      if (value !== undefined && value !== null && value !== false) {
        return value;
      }
    } catch (error) {
      problem = String(error?.message ?? error);
    }
    await pause(TICK_MS);
  }
  throw new Error(`${what} not within ${limitMs} ms: ${problem}`);
}

/** Evaluates code inside the extension host, with `vscode` and `given` in scope. */
async function host(code, given) {
  const { port, secret } = JSON.parse(readFileSync(settings.bridge, "utf8"));
  const response = await fetch(`http://127.0.0.1:${port}/`, {
    method: "POST",
    headers: { authorization: secret },
    body: JSON.stringify({ code, given }),
    signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
  });
  const answer = await response.json();
  if (answer.error) {
    throw new Error(answer.error);
  }
  return answer.value;
}

async function isUp(url) {
  const response = await fetch(`${url}/version`, { signal: AbortSignal.timeout(5_000) });
  return response.status < 500;
}

await until("the server", settings.limitMs, () => isUp(settings.url));
const browser = await chromium.launch({
  executablePath: settings.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  headless: true,
});
const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
page.setDefaultTimeout(ANSWER_LIMIT_MS);
page.on("console", (message) => {
  const [text] = message.text().split("\n");
  if (message.type() === "error" && !NOISE.some((part) => text.includes(part))) {
    send({ event: "consoleError", text });
  }
});

const REQUESTS = {
  /** Opens the folder; answers when the window is painted and the extension host answers. */
  async open({ folder, limitMs }) {
    await page.goto(`${settings.url}/?folder=${encodeURIComponent(folder)}`, { timeout: limitMs });
    await page.locator(".monaco-workbench").waitFor({ timeout: limitMs });
    await until("the bridge", limitMs, () => existsSync(settings.bridge));
    return until("the extension host", limitMs, () => host("return vscode.version"));
  },
  host: ({ code, given }) => host(code, given),
  hostUntil: ({ code, given, limitMs }) => until(code, limitMs, () => host(code, given)),
  page: ({ code, given }) => new AsyncFunction("page", "given", code)(page, given),
  pageUntil: ({ code, given, limitMs }) =>
    until(code, limitMs, () => new AsyncFunction("page", "given", code)(page, given)),
  picture: ({ path }) => page.screenshot({ path }).then(() => path),
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  try {
    send({ id: request.id, value: (await REQUESTS[request.ask](request)) ?? null });
  } catch (error) {
    // What a person would have seen then explains most failures.
    await page.screenshot({ path: settings.failure }).catch(() => {});
    send({ id: request.id, error: String(error?.message ?? error) });
  }
}
await browser.close();
process.exit(0);
