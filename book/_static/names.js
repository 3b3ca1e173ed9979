// What the theme and the charts' library leave out for people who do not see the page: names of controls that
// are only a picture, and a way to scroll wide tables and formulas with the keyboard.

const WIDE = ".bd-article :is(table, pre, .pst-scrollable-table-container, div.math, mjx-container, .output)";

/** Give the controls inside an element names that say what they show. */
function name(within) {
  // The text in the button says it, and a spoken name has to hold the text that is seen.
  within.querySelectorAll(".search-button-field, summary[aria-label='Toggle hidden content']")
    .forEach((control) => control.removeAttribute("aria-label"));
  within.querySelectorAll(".theme-switch-button svg title").forEach((title) => title.remove());
  within.querySelectorAll(".theme-switch-button [title]").forEach((icon) => icon.removeAttribute("title"));
  within.querySelectorAll(".has-children > details > summary").forEach((summary) => {
    const page = summary.closest(".has-children").querySelector("a");
    summary.setAttribute("aria-label", `Pages below ${page ? page.textContent.trim() : "this one"}`);
  });
  within.querySelectorAll(".vega-embed > details > summary")
    .forEach((summary) => summary.setAttribute("aria-label", "Save this chart as a picture"));
}

/** Whether a box can be scrolled sideways, and so has to be reached with the keyboard. */
function reach() {
  for (const box of document.querySelectorAll(WIDE)) {
    const scrolls = box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== "visible";
    if (scrolls) box.tabIndex = 0;
    else if (box.getAttribute("tabindex") === "0") box.removeAttribute("tabindex");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  name(document);
  reach();
  // Icons and charts come later, and a fold shows what had no width before.
  let waiting = 0;
  const again = () => {
    clearTimeout(waiting);
    document.documentElement.dataset.naming = "soon"; // the checks in a browser wait until it is gone
    waiting = setTimeout(() => {
      name(document);
      reach();
      delete document.documentElement.dataset.naming;
    }, 100);
  };
  new MutationObserver((changes) => {
    const drawn = (node) => node.nodeType === 1 && node.matches("svg, details, form, mjx-container, title");
    if (changes.some(({ addedNodes }) => [...addedNodes].some(drawn))) again();
  }).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("toggle", again, true);
  addEventListener("resize", again);
});
