// Opens every page of the built book in Chromium, from file:// and without a network, as a phone and as a
// laptop show it, light and dark, all folds open, and reports
//   - what axe-core calls a serious or critical violation,
//   - errors on the console, and anything asked of another server,
//   - pages wider than a phone, charts that did not draw,
//   - pages above 3 MB, and a book above 60 MB.
// Usage: node check.mjs [FOLDER OF THE BUILT BOOK] [PART OF A PAGE'S NAME ...]   (or: make a11y)
// Exit status: 0 when all is well, 1 when something was found, 2 when it could not be tried.

import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { begin, excess, named, open, tryAll, WIDTHS } from "./book.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const THEMES = { light: [], dark: ["color-contrast", "link-in-text-block"] }; // all rules; those of colour
const GRAVE = ["serious", "critical"];
const MB = 1e6;
const LARGEST = { page: 3 * MB, book: 60 * MB };

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
  const wide = await excess(page);
  if (wide > 0) lines.push(`${wide} px wider than the window of ${width}`);
  return lines;
}

/** Try one page at every width and in every theme. */
async function tryPage(browser, path, report) {
  const size = statSync(path).size;
  if (size > LARGEST.page) report(`${megabytes(path)}, more than ${LARGEST.page / MB}`);
  for (const width of WIDTHS) {
    const page = await open(browser, path, width, report);
    await page.evaluate(AXE);
    for (const [theme, rules] of Object.entries(THEMES)) {
      await show(page, theme);
      await named(page);
      for (const line of await problemsOf(page, width, rules)) report(`${width} px, ${theme}: ${line}`);
    }
    await page.context().close();
  }
}

const megabytes = (path) => `${(statSync(path).size / MB).toFixed(2)} MB`;

async function main() {
  const found = await begin();
  if (!found) return 2;
  const total = found.files.reduce((sum, path) => sum + statSync(path).size, 0);
  console.log(`${found.pages.length} pages; the book weighs ${(total / MB).toFixed(1)} MB`);
  const heavy = total > LARGEST.book;
  if (heavy) console.log(`  more than ${LARGEST.book / MB} MB`);
  return tryAll(found, megabytes, (path, report) => tryPage(found.browser, path, report), heavy ? 1 : 0);
}

process.exitCode = await main();
