// Opens every page of the built book in Chromium, from file:// and without a network, as a phone and as a
// laptop show it, light and dark, all folds open, and reports
//   - what axe-core calls a serious or critical violation,
//   - errors on the console, and anything asked of another server,
//   - pages wider than a phone, charts that did not draw,
//   - pages above 3 MB, and a book above 60 MB.
// Usage: node check.mjs [FOLDER OF THE BUILT BOOK] [PART OF A PAGE'S NAME ...]   (or: make a11y)
// Exit status: 0 when all is well, 1 when something was found, 2 when it could not be tried.

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const HERE = dirname(fileURLToPath(import.meta.url));
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"];
const WIDTHS = [1280, 390];
const THEMES = { light: [], dark: ["color-contrast", "link-in-text-block"] }; // all rules; those of colour
const GRAVE = ["serious", "critical"];
const MB = 1e6;
const LARGEST = { page: 3 * MB, book: 60 * MB };
const PATIENCE = 120_000; // milliseconds; pages hold up to 3 MB of charts, and the machine may be busy

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

/** Wait until formulas and charts stand; returns how many charts have not drawn. */
async function settled(page) {
  await page.evaluate(() => window.MathJax?.startup?.promise);
  const undrawn = () =>
    [...document.querySelectorAll("[id^=altair-viz]")].filter((box) => !box.querySelector("svg")).length;
  await page.waitForFunction(`(${undrawn})() === 0`, null, { timeout: PATIENCE }).catch(() => {});
  return page.evaluate(undrawn);
}

/** Press the theme's own switch until it shows the wanted theme. */
async function show(page, theme) {
  for (let presses = 0; presses < 3; presses++) {
    if ((await page.evaluate(() => document.documentElement.dataset.theme)) === theme) return;
    await page.evaluate(() => document.querySelector(".theme-switch-button")?.click());
  }
  throw new Error(`the theme's switch does not lead to ${theme}`);
}

/** What is wrong with the page as it stands, as lines; by some rules alone, or by all. */
async function problemsOf(page, width, rules) {
  const found = await page.evaluate(async (rules) => {
    const { violations } = await window.axe.run(document, {
      ...(rules.length ? { runOnly: { type: "rule", values: rules } } : {}),
      resultTypes: ["violations"],
      preload: false, // of style sheets, which a page opened from a file may not read
    });
    return violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      count: nodes.length,
      first: nodes[0].target.join(" "),
      why: nodes[0].failureSummary.split("\n").at(-1).trim(),
    }));
  }, rules);
  const lines = found
    .filter(({ impact }) => GRAVE.includes(impact))
    .map(({ id, impact, count, first, why }) => `${impact}: ${id}, ${count} times, first ${first}: ${why}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (wide > 0) lines.push(`${wide} px wider than the window of ${width}`);
  return lines;
}

/** Try one page at every width and in every theme. */
async function tryPage(browser, path, report) {
  for (const width of WIDTHS) {
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
    await page.goto(pathToFileURL(path).href, { waitUntil: "load" });
    const undrawn = await settled(page);
    if (undrawn) report(`${undrawn} charts did not draw at ${width} px`);
    await page.addStyleTag({ content: "* { transition: none !important; animation: none !important; }" });
    await page.evaluate(() => document.querySelectorAll("article details").forEach((fold) => {
      if (!fold.closest(".vega-embed")) fold.open = true;
    }));
    await page.evaluate(AXE);
    for (const [theme, rules] of Object.entries(THEMES)) {
      await show(page, theme);
      for (const line of await problemsOf(page, width, rules)) report(`${width} px, ${theme}: ${line}`);
    }
    await context.close();
  }
}

async function main() {
  const [folder = join(HERE, "..", "_build", "html"), ...wanted] = process.argv.slice(2);
  const book = resolve(folder);
  const executablePath = browserPath();
  if (!executablePath) {
    console.error(`no browser found (looked for ${BROWSERS.join(", ")}); Debian: apt-get install chromium`);
    return 2;
  }
  let files;
  try {
    files = filesOf(book);
  } catch {
    console.error(`there is no book in ${book}: make book`);
    return 2;
  }
  const pages = files
    .filter((path) => path.endsWith(".html") && !relative(book, path).startsWith("_static"))
    .filter((path) => !readFileSync(path, "utf8").includes('http-equiv="Refresh"')) // only leads elsewhere
    .filter((path) => !wanted.length || wanted.some((part) => relative(book, path).includes(part)))
    .sort();
  let problems = 0;
  const total = files.reduce((sum, path) => sum + statSync(path).size, 0);
  console.log(`${pages.length} pages; the book weighs ${(total / MB).toFixed(1)} MB`);
  if (total > LARGEST.book) problems++, console.log(`  more than ${LARGEST.book / MB} MB`);

  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  for (const path of pages) {
    const lines = new Set();
    const size = statSync(path).size;
    if (size > LARGEST.page) lines.add(`${(size / MB).toFixed(2)} MB, more than ${LARGEST.page / MB}`);
    try {
      await tryPage(browser, path, (line) => lines.add(line));
    } catch (error) {
      lines.add(`could not be tried: ${error.message}`);
    }
    console.log(`${lines.size ? "✗" : "✓"} ${relative(book, path)} (${(size / MB).toFixed(2)} MB)`);
    for (const line of lines) console.log(`    ${line}`);
    problems += lines.size;
  }
  await browser.close();
  console.log(problems ? `${problems} problems` : "nothing found");
  return problems ? 1 : 0;
}

process.exitCode = await main();
