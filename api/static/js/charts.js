// Draws each [data-option] element with ECharts. Options are plain JSON from the server; colours in them are CSS custom
// properties, resolved here so that a change of theme only needs a new drawing.
/* global echarts */

const drawn = new WeakMap(); // element -> {chart, option}
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

function resolved(value, style) {
  if (typeof value === "string" && value.startsWith("var(")) return style.getPropertyValue(value.slice(4, -1)).trim();
  if (Array.isArray(value)) return value.map((item) => resolved(item, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item, style)]));
}

const resizes = new ResizeObserver((entries) => {
  for (const { target } of entries) drawn.get(target)?.chart.resize();
});

function draw(element) {
  let known = drawn.get(element);
  if (!known) {
    const canvas = document.createElement("div");
    canvas.className = "canvas";
    element.replaceChildren(canvas);
    known = { chart: echarts.init(canvas) };
    drawn.set(element, known);
    resizes.observe(element);
  }
  if (known.option === element.dataset.option) return;
  known.option = element.dataset.option;
  const option = resolved(JSON.parse(known.option), getComputedStyle(element));
  known.chart.setOption({ ...option, animation: !still }, { notMerge: true });
}

function drawAll() {
  document.querySelectorAll("[data-option]").forEach(draw);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const element of document.querySelectorAll("[data-option]")) {
    const known = drawn.get(element);
    if (known) known.option = null;
  }
  drawAll();
});
document.addEventListener("htmx:after:swap", drawAll);
drawAll();
