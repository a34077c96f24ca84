// The page's script: draws the interactive figures, and filters the answers that changed.
// Without scripts the page shows the figures' text alternatives and the thirty answers that changed most.

"use strict";

const NARROWEST = 120;

// The text that stages/page/charts/interactive.py compressed into an element.
async function unpacked(element) {
  const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

// Runs Vega's scripts; the page's content-security policy allows their text by its hash.
async function runVega() {
  const script = document.createElement("script");
  script.textContent = await unpacked(document.getElementById("vega"));
  document.head.append(script);
}

// Makes plots narrower, so that plots and labels together fit a page that is `missing` pixels too narrow.
function narrow(view, missing) {
  if (view === null || typeof view !== "object") return;
  const columns = view.columns ?? 1;
  if (typeof view.width === "number") view.width = Math.max(NARROWEST, view.width - missing);
  for (const part of ["spec", "layer", "vconcat"].flatMap((name) => view[name] ?? [])) narrow(part, missing / columns);
}

async function draw(drawing) {
  const words = drawing.querySelector("p");
  const view = JSON.parse(await unpacked(drawing.querySelector("script")));
  const missing = Number(drawing.dataset.width) - drawing.clientWidth;
  if (missing > 0) narrow(view, missing);
  view.config.background = null;
  const live = document.createElement("div");
  live.setAttribute("role", "img");
  live.setAttribute("aria-label", words.textContent);
  // Vega sets another role on the element that it draws in, hence a second element.
  const inner = live.appendChild(document.createElement("div"));
  // Interpreted expressions and no style sheets from Vega: the page's policy forbids evaluated code and other styles.
  await window.vegaEmbed(inner, view, {
    ast: true,
    actions: false,
    renderer: "svg",
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  });
  words.replaceWith(live);
}

// Reserves a figure's height and hides its text, so that the page does not move while figures are drawn, or undoes both.
function reserve(drawing, isReserved) {
  drawing.style.minHeight = isReserved ? `${drawing.dataset.height}px` : "";
  const words = drawing.querySelector("p");
  if (words !== null) words.hidden = isReserved;
}

async function drawAll() {
  const drawings = [...document.querySelectorAll(".drawing")];
  for (const drawing of drawings) reserve(drawing, true);
  try {
    await runVega();
    for (const drawing of drawings) {
      await draw(drawing).catch(console.error);
      // Yields to the browser, so that the page can be scrolled while a hundred figures are drawn.
      await new Promise((drawn) => setTimeout(drawn));
    }
  } finally {
    for (const drawing of drawings) reserve(drawing, false);
  }
}

function filtered(section) {
  const form = section.querySelector("form");
  const answers = [...section.querySelectorAll(".answer")];
  const shown = Number(form.dataset.shown);
  const choose = () => {
    const wanted = [...new FormData(form)].filter(([, value]) => value !== "");
    const matching = answers.filter((answer) => wanted.every(([name, value]) => answer.dataset[name] === value));
    const first = new Set(matching.slice(0, shown));
    for (const answer of answers) answer.hidden = !first.has(answer);
    form.querySelector("output").textContent =
      matching.length > shown ? `The ${shown} that changed most of ${matching.length}.` : `${matching.length} answers.`;
  };
  form.addEventListener("change", choose);
  form.hidden = false;
  choose();
}

document.querySelectorAll(".inside").forEach(filtered);
drawAll().then(() => {
  document.documentElement.dataset.figures = "drawn";
});
