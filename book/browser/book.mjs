// What the checks of the built book share: the browser, the pages, and a page opened without a network.

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"];
export const WIDTHS = [1280, 390];
export const PATIENCE = 120_000; // milliseconds; pages hold up to 3 MB of charts, and the machine may be busy

/** The path of a browser of the Chromium family, or null. */
function browserPath() {
  for (const name of BROWSERS) {
    try {
      return execFileSync("which", [name], { encoding: "utf-8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    } catch {
      // the next one
    }
  }
  return null;
}

/** All files below a folder. */
const filesOf = (folder) =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesOf(path) : [path];
  });

/** What the command line names: the book's folder, its files, its pages, and a browser; null where one is missing. */
export async function begin() {
  const here = dirname(fileURLToPath(import.meta.url));
  const [folder = join(here, "..", "_build", "html"), ...wanted] = process.argv.slice(2);
  const book = resolve(folder);
  const executablePath = browserPath();
  if (!executablePath) {
    console.error(`no browser found (looked for ${BROWSERS.join(", ")}); Debian: apt-get install chromium`);
    return null;
  }
  let files;
  try {
    files = filesOf(book);
  } catch {
    console.error(`there is no book in ${book}: make book`);
    return null;
  }
  const pages = files
    .filter((path) => path.endsWith(".html") && !relative(book, path).startsWith("_static"))
    .filter((path) => !readFileSync(path, "utf8").includes('http-equiv="Refresh"')) // only leads elsewhere
    .filter((path) => !wanted.length || wanted.some((part) => relative(book, path).includes(part)))
    .sort();
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  return { book, files, pages, browser };
}

/** Open a page at a width, light, from its file, and tell what goes wrong; wait until formulas and charts stand. */
export async function open(browser, path, width, report, script) {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: "light",
    reducedMotion: "reduce",
    offline: true,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("console", (message) => message.type() === "error" && report(`console: ${message.text()}`));
  page.on("pageerror", (error) => report(`error in a script: ${error.message}`));
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) report(`asks another server: ${request.url()}`);
  });
  if (script) await page.addInitScript(script);
  await page.goto(pathToFileURL(path).href, { waitUntil: "load" });
  await page.evaluate(() => window.MathJax?.startup?.promise);
  const undrawn = () =>
    [...document.querySelectorAll("[id^=altair-viz]")].filter((box) => !box.querySelector("svg")).length;
  await page.waitForFunction(`(${undrawn})() === 0`, null, { timeout: PATIENCE }).catch(() => {});
  const left = await page.evaluate(undrawn);
  if (left) report(`${left} charts did not draw at ${width} px`);
  await page.addStyleTag({ content: "* { transition: none !important; animation: none !important; }" });
  await page.evaluate(() =>
    document.querySelectorAll("article details").forEach((fold) => {
      if (!fold.closest(".vega-embed")) fold.open = true;
    }),
  );
  return page;
}

/** Wait until the page's own script, names.js, has named what came late: icons, charts, opened folds. */
export async function named(page) {
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  await page.evaluate(frame); // "toggle" is told a task later than a fold opens
  await page.waitForFunction(() => !("naming" in document.documentElement.dataset), null, { timeout: PATIENCE });
}

/** How many pixels the page is wider than its window. */
export const excess = (page) => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

/** Try pages one after another, print what each has, and end with the status: 1 when something was found. */
export async function tryAll({ book, pages, browser }, about, tryPage, problems = 0) {
  for (const path of pages) {
    const lines = new Set();
    try {
      await tryPage(path, (line) => lines.add(line));
    } catch (error) {
      lines.add(`could not be tried: ${error.message}`);
    }
    console.log(`${lines.size ? "✗" : "✓"} ${relative(book, path)} (${about(path)})`);
    for (const line of lines) console.log(`    ${line}`);
    problems += lines.size;
  }
  await browser.close();
  console.log(problems ? `${problems} problems` : "nothing found");
  return problems ? 1 : 0;
}
