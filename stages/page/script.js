// What the page does in a browser: makes its figures answer to a pointer, and filters the answers that changed.
// Without scripts the page is whole: figures stand still, and the thirty answers that changed most are shown.

"use strict";

const NARROWEST = 120;

// The plots' widths, so that plots and labels together fit a page that is `missing` pixels too narrow.
function narrow(view, missing) {
  if (view === null || typeof view !== "object") return;
  const columns = view.columns ?? 1;
  if (typeof view.width === "number") view.width = Math.max(NARROWEST, view.width - missing);
  for (const part of ["spec", "layer", "vconcat"].flatMap((name) => view[name] ?? [])) narrow(part, missing / columns);
}

async function animate(drawing) {
  const still = drawing.querySelector("svg");
  const view = JSON.parse(drawing.querySelector("script").textContent);
  const missing = Number(still.getAttribute("width")) - drawing.clientWidth;
  if (missing > 0) narrow(view, missing);
  view.config.background = null;
  const live = document.createElement("div");
  live.setAttribute("role", "img");
  live.setAttribute("aria-label", still.getAttribute("aria-label"));
  // Vega gives a role of its own to the element that it draws in.
  const inner = live.appendChild(document.createElement("div"));
  // Interpreted expressions and no style sheets of Vega's own: the page's policy allows neither.
  await window.vegaEmbed(inner, view, {
    ast: true,
    actions: false,
    renderer: "svg",
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  });
  still.replaceWith(live);
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
Promise.all([...document.querySelectorAll(".drawing")].map(animate)).then(() => {
  document.documentElement.dataset.figures = "drawn";
});
