// Uses a page as a person would, in headless Chromium: `node browser.mjs SITE JOBS.json`. SITE is a folder, which is served, or
// an .html file, which is opened from the disk; each job names a screen, and what is drawn, dropped, typed and clicked. Prints
// what the page shows and holds after each step, as JSON.
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { basename, extname, join, normalize, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json",
  ".wasm": "application/wasm", ".svg": "image/svg+xml", ".onnx": "application/octet-stream" };

const DROPPED = { ".png": "image/png", ".jpg": "image/jpeg", ".csv": "text/csv" };

/** A static server as any other, on a free port of this machine. */
function serve(folder) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://here").pathname));
    const file = join(folder, path === "/" ? "index.html" : path);
    if (!file.startsWith(folder) || !existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "text/plain" });
    createReadStream(file).pipe(response);
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

/** Draw strokes, points in 0..1 of the pad, with the mouse or with a finger. */
async function draw(page, strokes, touch) {
  const box = await page.locator("#pad").boundingBox();
  const place = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
  const finger = touch ? await page.context().newCDPSession(page) : null;
  const send = (type, at) => finger.send("Input.dispatchTouchEvent", { type, touchPoints: at ? [{ x: at[0], y: at[1] }] : [] });
  for (const stroke of strokes) {
    const [first, ...rest] = stroke.map(place);
    if (touch) {
      await send("touchStart", first);
      for (const point of rest) await send("touchMove", point);
      await send("touchEnd");
    } else {
      await page.mouse.move(...first);
      await page.mouse.down();
      for (const point of rest) await page.mouse.move(...point, { steps: 4 });
      await page.mouse.up();
    }
  }
}

/** Wait until the last drawing is explained by the method chosen last. */
const settled = (page) => page.waitForFunction(async () => {
  const quiet = () => !window.onnxplain.busy && window.onnxplain.wanted === window.onnxplain.file;
  const before = window.onnxplain.runs;
  await new Promise((done) => setTimeout(done, 60));
  return quiet() && window.onnxplain.runs === before;
});

/** Let go of a file over the page. */
async function drop(page, path) {
  const bytes = [...readFileSync(path)];
  const data = await page.evaluateHandle(([content, name, type]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(content)], name, { type }));
    return transfer;
  }, [bytes, basename(path), DROPPED[extname(path)] ?? "text/plain"]);
  await page.dispatchEvent("main", "drop", { dataTransfer: data });
}

/** What a person does in one step. */
async function act(page, step, touch) {
  if (step.strokes) await draw(page, step.strokes, touch);
  if (step.drop) await drop(page, step.drop);
  for (const [selector, text] of Object.entries(step.fill ?? {})) await page.locator(selector).fill(text);
  for (const [selector, value] of Object.entries(step.slide ?? {})) {
    await page.locator(selector).evaluate((slider, to) => { slider.value = to; slider.dispatchEvent(new Event("input")); }, value);
  }
  for (const [selector, value] of Object.entries(step.select ?? {})) await page.locator(selector).selectOption(value);
  if (step.click) await page.locator(step.click).click();
  if (step.focus) await page.locator(step.focus).focus();
  for (const key of step.press ?? []) await page.keyboard.press(key);
  if (step.paste) {
    await page.evaluate((text) => {
      const data = new DataTransfer();
      data.setData("text", text);
      document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
    }, step.paste);
  }
  if (step.method) {
    await page.locator(`#methods button[value="${step.method}"]`).click();
    await page.waitForFunction((name) => window.onnxplain.file.name === name, step.method);
  }
  if (step.follow) await page.evaluate((hash) => { location.hash = hash; }, step.follow);
}

/** What the page holds and shows. */
const seen = (page) => page.evaluate(() => {
  const { feeds, outputs, target, file, runs, result } = window.onnxplain;
  const numbers = (tensors) => tensors && Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, { dims: t.dims, data: Array.from(t.data, (v) => (typeof v === "string" ? v : Number(v))).map((v) => (Number.isNaN(v) ? null : v)) }]));
  const words = (selector) => [...document.querySelectorAll(selector)].map((e) => e.textContent);
  const label = (e) => e.getAttribute("aria-label") || e.textContent.trim() || (e.labels && [...e.labels].map((l) => l.textContent.trim()).join()) || e.title;
  return {
    feeds: numbers(feeds), outputs: numbers(outputs), target, explained: result && result.target, method: file.name, runs,
    wide: document.documentElement.scrollWidth - innerWidth, top: words("#top-class")[0], sentence: words("#sentence")[0], source: words("#source")[0],
    done: words("#done")[0], chances: words("#chances span"), values: words(".value"), kept: document.getElementById("kept").hidden ? null : words("#kept-table tr"),
    hash: location.hash, heat: document.getElementById("heat")?.getAttribute("aria-label"), focus: document.activeElement.id || document.activeElement.value || "",
    unnamed: [...document.querySelectorAll("button, select, input, textarea, canvas[role]")].filter((e) => !label(e)).map((e) => e.outerHTML),
  };
});

async function run(browser, address, job) {
  const screen = { width: 1280, height: 860, ...job.screen };
  const context = await browser.newContext({
    viewport: screen, colorScheme: job.scheme ?? "light", deviceScaleFactor: job.touch ? 2 : 1, hasTouch: !!job.touch, isMobile: !!job.touch,
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("request", (request) => !request.url().startsWith(address) && !/^(data|blob):/.test(request.url()) && problems.push(`asked for ${request.url()}`));
  await page.goto(`${address}${job.hash ?? ""}`);
  await page.waitForFunction(() => document.body.dataset.ready === "yes", null, { timeout: 60000 });
  const shown = [];
  for (const step of job.steps ?? [{}]) {
    await act(page, step, job.touch);
    await page.waitForTimeout(step.wait ?? 100); // a busy machine hands clicks on late
    await settled(page);
    shown.push(await seen(page));
    if (step.clipboard) shown.at(-1).clipboard = await page.evaluate(CLIPBOARD[step.clipboard]);
    if (step.picture) await page.screenshot({ path: step.picture, fullPage: step.whole ?? true });
  }
  await context.close();
  return { shown, problems };
}

/** What is in the clipboard: its text, or the size of its picture. */
const CLIPBOARD = {
  text: () => navigator.clipboard.readText(),
  picture: async () => {
    const [item] = await navigator.clipboard.read();
    const picture = await createImageBitmap(await item.getType("image/png"));
    return [picture.width, picture.height];
  },
};

const [site, jobs] = process.argv.slice(2);
const server = site.endsWith(".html") ? null : await serve(normalize(site));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync"],
});
try {
  const address = server ? `http://127.0.0.1:${server.address().port}/` : pathToFileURL(resolve(site)).href;
  const results = [];
  for (const job of JSON.parse(readFileSync(jobs))) results.push(await run(browser, address, job));
  console.log(JSON.stringify(results));
} finally {
  await browser.close();
  server?.close();
}
