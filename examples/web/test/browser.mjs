// Uses the page as a person would, in headless Chromium: `node browser.mjs SITE JOBS.json`. SITE is the built folder; each
// job names a screen, what is drawn and what is clicked. Prints what the page shows and holds after each, as JSON.
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json",
  ".wasm": "application/wasm", ".svg": "image/svg+xml", ".onnx": "application/octet-stream" };

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
  const quiet = () => !window.onnxplain.busy && window.onnxplain.wanted === window.onnxplain.method;
  const before = window.onnxplain.runs;
  await new Promise((done) => setTimeout(done, 60));
  return quiet() && window.onnxplain.runs === before;
});

async function run(browser, address, job) {
  const screen = { width: 1280, height: 860, ...job.screen };
  const context = await browser.newContext({
    viewport: screen, colorScheme: job.scheme ?? "light", deviceScaleFactor: job.touch ? 2 : 1, hasTouch: !!job.touch, isMobile: !!job.touch,
  });
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("request", (request) => new URL(request.url()).origin !== address && problems.push(`asked for ${request.url()}`));
  await page.goto(`${address}/${job.hash ?? ""}`);
  await page.waitForFunction(() => document.body.dataset.ready === "yes", null, { timeout: 60000 });
  const shown = [];
  for (const step of job.steps ?? [{}]) {
    if (step.strokes) await draw(page, step.strokes, job.touch);
    if (step.select) await page.locator("#method").selectOption(step.select);
    if (step.click) await page.locator(step.click).click();
    if (step.press) await page.locator("#pad").press(step.press);
    if (step.method) {
      await page.locator(`#methods button[value="${step.method}"]`).click();
      await page.waitForFunction((name) => window.onnxplain.method.name === name, step.method);
    }
    await page.waitForTimeout(100); // a busy machine hands clicks on late
    await settled(page);
    shown.push(await page.evaluate(() => {
      const { pixels, logits, relevance, target, method, runs } = window.onnxplain;
      const wide = document.documentElement.scrollWidth - innerWidth;
      return {
        pixels: [...pixels], logits: logits && [...logits], relevance: relevance && [...relevance], target, method: method.name, runs, wide,
        digit: document.getElementById("digit").textContent, sentence: document.getElementById("sentence").textContent,
        chances: [...document.querySelectorAll("#chances span")].map((s) => s.textContent),
      };
    }));
    if (step.picture) await page.screenshot({ path: step.picture, fullPage: step.whole ?? true });
  }
  await context.close();
  return { shown, problems };
}

const [site, jobs] = process.argv.slice(2);
const server = await serve(normalize(site));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync"],
});
try {
  const address = `http://127.0.0.1:${server.address().port}`;
  const results = [];
  for (const job of JSON.parse(readFileSync(jobs))) results.push(await run(browser, address, job));
  console.log(JSON.stringify(results));
} finally {
  await browser.close();
  server.close();
}
