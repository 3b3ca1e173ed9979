// Uses every control of every chart of the built book in Chromium, from file:// and without a network, as a
// laptop and as a phone show it, and reports
//   - a control that changes nothing: two choices of a menu with one drawing, a slider whose ends draw the same,
//     a line of the legend or a mark that a tap does not pick,
//   - a choice, or a pair of choices of two menus, that leaves a chart without marks,
//   - words that a chart cuts off at its edge, pages that get wider, errors on the console.
// Usage: node controls.mjs [FOLDER OF THE BUILT BOOK] [PART OF A PAGE'S NAME ...]   (or: make a11y)
// Exit status: 0 when all is well, 1 when something was found, 2 when it could not be tried.

import { readFileSync } from "node:fs";
import { begin, excess, open, tryAll, WIDTHS } from "./book.mjs";

/** Runs in the page before its own scripts: keeps what vegaEmbed makes, by the box it stands in. */
function keepViews() {
  let embed;
  window.charts = new Map();
  Object.defineProperty(window, "vegaEmbed", {
    get: () => embed,
    set: (original) => {
      embed = async (box, spec, options) => {
        const made = await original(box, spec, options);
        window.charts.set(typeof box === "string" ? document.querySelector(box) : box, made);
        return made;
      };
    },
  });
}

/** Runs in the page: what a chart's menus, sliders and radio buttons do, and what it looks like meanwhile. */
async function useBindings(box) {
  const { view } = window.charts.get(box);
  const found = [];
  const root = () => box.querySelector("svg");
  const drawing = () => root().querySelector("g.root").innerHTML;
  const marks = () =>
    root().querySelectorAll(".role-mark:not(.mark-rule):not(.mark-text) > :is(path, line, rect)[d], .role-mark.mark-rule > line")
      .length;
  const look = (where) => {
    if (!marks()) found.push(`${where}: no mark is left`);
    const edge = root().getBoundingClientRect();
    for (const text of root().querySelectorAll("text")) {
      const { left, right, top, bottom, width } = text.getBoundingClientRect();
      const over = Math.max(edge.left - left, right - edge.right, edge.top - top, bottom - edge.bottom);
      if (width && over > 2) found.push(`${where}: ${JSON.stringify(text.textContent.slice(0, 30))} is cut by ${Math.round(over)} px`);
    }
  };
  const set = async (input, value) => {
    if (input.type === "radio") input.checked = true;
    else input.value = value;
    for (const name of ["input", "change"]) input.dispatchEvent(new Event(name, { bubbles: true }));
    await new Promise((resolve) => setTimeout(resolve, 20)); // Vega takes sliders in with a delay
    await view.runAsync();
    return drawing();
  };
  look("at first");
  const groups = [...box.querySelectorAll(".vega-bind")].map((bind) => {
    const inputs = [...bind.querySelectorAll("select, input")];
    const [first] = inputs;
    const name = bind.querySelector(".vega-bind-name")?.textContent.trim() ?? "?";
    if (first.type === "range") {
      const [min, max, step] = [first.min, first.max, first.step || 1].map(Number);
      const middle = min + Math.round((max - min) / 2 / step) * step;
      return { name, kind: "slider", start: first.value, choices: [min, middle, max].map((value) => [first, String(value)]) };
    }
    if (first.tagName === "SELECT")
      return { name, kind: "menu", start: first.value, choices: [...first.options].map(({ value }) => [first, value]) };
    return { name, kind: "radio", start: null, choices: inputs.map((input) => [input, input.value]) };
  });
  for (const { name, kind, start, choices } of groups) {
    const seen = new Map();
    for (const [input, value] of choices) {
      const drawn = await set(input, value);
      const label = input.tagName === "SELECT" ? input.selectedOptions[0].textContent : value;
      look(`${name} ${label}`);
      const same = seen.get(drawn);
      if (same !== undefined && (kind !== "slider" || same === String(choices[0][1]))) found.push(`${name} ${label} draws the same as ${same}`);
      seen.set(drawn, label);
    }
    if (start !== null) await set(choices[0][0], start);
  }
  const menus = groups.filter(({ kind }) => kind === "menu");
  for (const [i, one] of menus.entries()) {
    for (const other of menus.slice(i + 1)) {
      for (const [input, value] of one.choices) {
        await set(input, value);
        for (const [second, chosen] of other.choices) {
          await set(second, chosen);
          if (!marks()) found.push(`${one.name} ${value}, ${other.name} ${chosen}: no mark is left`);
        }
      }
      await set(one.choices[0][0], one.start);
      await set(other.choices[0][0], other.start);
    }
  }
  return { found, number: groups.reduce((sum, { choices }) => sum + choices.length, 0) };
}

/** Click on some marks or lines of the legend, as a reader would; every click must change the drawing. */
async function click(box, selector, what, report) {
  const targets = box.locator(selector);
  const count = await targets.count();
  const places = [...new Set([1, Math.floor(count / 2), count - 1])].filter((place) => place > 0 && place < count);
  if (!places.length) report(`there is nothing to click: ${what}`);
  const state = () =>
    box.evaluate(async (node) => {
      await window.charts.get(node).view.runAsync();
      return node.querySelector("g.root").innerHTML;
    });
  for (const place of places) {
    const before = await state();
    await targets.nth(place).click({ force: true });
    if ((await state()) === before) report(`a click on ${what} ${place + 1} of ${count} changes nothing`);
  }
  return places.length;
}

/** Try the controls of one page at every width; returns how many were used. */
async function tryPage(browser, path, report) {
  let used = 0;
  for (const width of WIDTHS) {
    const page = await open(browser, path, width, report, keepViews);
    const boxes = page.locator("[id^=altair-viz]");
    for (let i = 0; i < (await boxes.count()); i++) {
      const box = boxes.nth(i);
      const say = (line) => report(`${width} px, chart ${i + 1}: ${line}`);
      await box.scrollIntoViewIfNeeded();
      const { found, number } = await box.evaluate(useBindings);
      found.forEach(say);
      used += number;
      const kinds = await box.evaluate((node) => {
        const params = window.charts.get(node).spec.params ?? [];
        const has = (test) => params.some(test);
        return {
          legend: has(({ bind }) => bind === "legend"),
          taps: has(({ select, bind }) => select && !bind),
        };
      });
      if (kinds.legend) used += await click(box, ".role-legend-symbol path", "line of the legend", say);
      if (kinds.taps) used += await click(box, ".role-mark:is(.mark-symbol, .mark-rect) > path", "mark", say);
      const wide = await excess(page);
      if (wide > 0) say(`the page is ${wide} px wider than its window`);
    }
    await page.context().close();
  }
  return used;
}

async function main() {
  const all = await begin();
  if (!all) return 2;
  const pages = all.pages.filter((path) => readFileSync(path, "utf8").includes('id="altair-viz'));
  const used = new Map();
  console.log(`${pages.length} pages with charts`);
  return tryAll({ ...all, pages }, (path) => `${used.get(path) ?? 0} uses of controls`, async (path, report) => {
    used.set(path, await tryPage(all.browser, path, report));
  });
}

process.exitCode = await main();
