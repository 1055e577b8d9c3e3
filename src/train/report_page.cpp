#include "train/report_page.h"

namespace fathom {

const std::string_view kReportPage = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fathom run</title>
<style>
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --line: #e2e5ea; --grid: #eceef2; --text: #1b2330; --soft: #667085;
  --blue: #2563eb; --orange: #d9660a; --green: #0f8a5f; --violet: #7c3aed; --shadow: 0 1px 2px rgb(16 24 40 / 6%);
  --cold: 33, 102, 172; --even: 247, 247, 247; --hot: 178, 24, 43;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e131b; --card: #161d28; --line: #263041; --grid: #202938; --text: #e6eaf0; --soft: #93a0b4;
    --blue: #6ea8fe; --orange: #f7a14b; --green: #4cc38a; --violet: #b392f0; --shadow: none;
    --cold: 79, 150, 230; --even: 30, 38, 51; --hot: 240, 98, 88;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 28px 24px 40px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 16px; margin-bottom: 4px; }
h1 { font-size: 22px; font-weight: 650; margin: 0; letter-spacing: -.01em; overflow-wrap: anywhere; }
header span { color: var(--soft); }
.bar { height: 4px; border-radius: 2px; background: var(--line); margin: 12px 0 20px; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--blue); border-radius: 2px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-bottom: 12px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; box-shadow: var(--shadow); }
.tile { padding: 12px 16px; }
.tile b { display: block; font-size: 21px; font-weight: 620; font-variant-numeric: tabular-nums; letter-spacing: -.01em; }
.tile small, dt { color: var(--soft); font-size: 12px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 540px), 1fr)); gap: 12px; }
.chart { padding: 14px 16px 8px; min-width: 0; }
.chart.wide { grid-column: 1 / -1; }
h2 { font-size: 14px; font-weight: 620; margin: 0; }
.head { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 4px 16px; min-height: 22px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; color: var(--soft); font-size: 12px; }
.legend i { display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 6px; vertical-align: middle; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--grid); } .axis { stroke: var(--line); }
.tip { position: fixed; pointer-events: none; z-index: 2; padding: 7px 10px; font-size: 12px; border-radius: 8px;
  background: var(--card); border: 1px solid var(--line); box-shadow: 0 4px 14px rgb(0 0 0 / 18%); display: none;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.tip i { display: inline-block; width: 8px; height: 8px; border-radius: 50%; margin-right: 6px; }
.heat { display: grid; grid-template-columns: max-content 1fr; gap: 2px 10px; align-items: center; margin: 10px 0 6px; font-size: 12px; }
.heat > div:nth-child(odd) { color: var(--soft); text-align: right; }
.row { display: flex; gap: 1px; height: 24px; }
.row i { flex: 1; min-width: 0; border-radius: 2px; border: 1px solid var(--line); }
.controls { display: flex; align-items: center; gap: 10px; color: var(--soft); font-size: 12px; }
.controls input { width: min(260px, 40vw); accent-color: var(--blue); }
.scale { width: 110px; height: 10px; border-radius: 3px; border: 1px solid var(--line);
  background: linear-gradient(90deg, rgb(var(--cold)), rgb(var(--even)), rgb(var(--hot))); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 10px 20px; margin: 0; padding: 14px 16px; }
dt { margin: 0; } dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
section { margin-top: 12px; }
footer { color: var(--soft); font-size: 12px; margin-top: 18px; }
</style>
</head>
<body>
<main>
  <header><h1 id="title"></h1><span id="progress"></span></header>
  <div class="bar"><i id="bar"></i></div>
  <div class="tiles" id="tiles"></div>
  <div class="charts" id="charts"></div>
  <section class="card"><dl id="facts"></dl></section>
  <footer>Losses are in nats per token. Curves longer than 1,600 points show means of neighbouring steps; metrics.jsonl
  beside this page has every step. MaxVio is the largest expert load over the mean load, minus 1: global where loads
  are counted over all measured tokens, of a batch where over the tokens of one forward pass.</footer>
</main>
<div class="tip" id="tip"></div>
<script type="application/json" id="data">/*DATA*/</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const curves = data.curves;
const tip = document.getElementById("tip");

function element(name, attributes = {}, parent = null, text = null) {
  const isSvg = ["svg", "path", "line", "text", "circle", "g", "rect"].includes(name);
  const node = isSvg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== null) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2).replace("e+", "e");
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}
const count = value => value >= 1e9 ? number(value / 1e9, 3) + " B" : value >= 1e6 ? number(value / 1e6, 3) + " M"
  : Math.round(value).toLocaleString("en");
const last = points => points.length ? points[points.length - 1][1] : null;

// The mean of the points around each one, 1 % of the curve to either side (less near its ends), so that a noisy
// loss shows its course without lagging behind it.
function smooth(points) {
  const kept = points.filter(p => p[1] !== null), reach = Math.round(kept.length * 0.01), sums = [0];
  for (const p of kept) sums.push(sums[sums.length - 1] + p[1]);
  return kept.map(([x], i) => {
    const side = Math.min(reach, i, kept.length - 1 - i);
    return [x, (sums[i + side + 1] - sums[i - side]) / (2 * side + 1)];
  });
}
// The mean of the last points: steadier than one, and not drawn.
function recent(points) {
  const kept = points.filter(p => p[1] !== null).slice(-Math.max(1, Math.round(points.length * 0.02)));
  return kept.length ? kept.reduce((sum, p) => sum + p[1], 0) / kept.length : null;
}

// At most about `wanted` round numbers between two bounds.
function ticks(low, high, wanted) {
  const raw = (high - low) / wanted || 1, power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 5, 10].find(m => m * power >= raw) * power, values = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) values.push(i * step);
  return values;
}

// lines: {name, color, points, faint, dots, quiet (not in the legend or the tooltip)}
function chart(title, lines, options = {}) {
  lines = lines.map(line => ({...line, points: line.points.filter(p => p[1] !== null)})).filter(l => l.points.length);
  if (!lines.length) return;
  const card = element("div", {class: "card chart" + (options.wide ? " wide" : "")}, document.getElementById("charts"));
  const head = element("div", {class: "head"}, card);
  element("h2", {}, head, title);
  const legend = element("div", {class: "legend"}, head);
  for (const line of lines) {
    if (line.quiet || lines.filter(l => !l.quiet).length === 1) continue;
    const entry = element("span", {}, legend);
    element("i", {style: `background:${line.color}`}, entry);
    entry.append(line.name);
  }
  const W = options.wide ? 1200 : 600, H = 250, left = 54, right = 12, top = 14, bottom = 26;
  const svg = element("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": title}, card);
  const xs = lines.flatMap(l => l.points.map(p => p[0]));
  const ys = lines.filter(l => !l.faint).flatMap(l => l.points.map(p => p[1]));
  const faint = lines.filter(l => l.faint).flatMap(l => l.points.map(p => p[1])).sort((a, b) => a - b);
  if (faint.length) ys.push(faint[Math.floor(faint.length * 0.002)], faint[Math.floor((faint.length - 1) * 0.998)]);
  let x0 = Math.min(...xs), x1 = Math.max(...xs), y0 = options.zero ? 0 : Math.min(...ys), y1 = Math.max(...ys);
  if (x1 === x0) { x0 -= 1; x1 += 1; }
  const pad = (y1 - y0) * 0.06 || Math.abs(y1) * 0.1 || 1;
  y1 += pad; if (!options.zero) y0 -= pad;
  const X = x => left + (x - x0) / (x1 - x0) * (W - left - right);
  const Y = y => top + (y1 - y) / (y1 - y0) * (H - top - bottom);
  const inside = y => Math.min(Math.max(Y(y), top), H - bottom);
  for (const y of ticks(y0, y1, 5)) {
    element("line", {class: "grid", x1: left, x2: W - right, y1: Y(y), y2: Y(y)}, svg);
    element("text", {x: left - 8, y: Y(y) + 4, "text-anchor": "end"}, svg, number(y));
  }
  for (const x of ticks(x0, x1, options.wide ? 12 : 6))
    element("text", {x: X(x), y: H - 8, "text-anchor": "middle"}, svg, number(x));
  element("line", {class: "axis", x1: left, x2: W - right, y1: H - bottom, y2: H - bottom}, svg);
  for (const line of lines) {
    element("path", {fill: "none", stroke: line.color, "stroke-width": line.faint ? 1 : 1.8, "stroke-linejoin": "round",
      opacity: line.faint ? 0.28 : 1,
      d: line.points.map(([x, y], i) => (i ? "L" : "M") + X(x).toFixed(1) + " " + inside(y).toFixed(1)).join("")}, svg);
    if (line.dots && line.points.length <= 60)
      for (const [x, y] of line.points) element("circle", {cx: X(x), cy: inside(y), r: 2.6, fill: line.color}, svg);
  }
  const cursor = element("line", {class: "axis", y1: top, y2: H - bottom, visibility: "hidden"}, svg);
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    const x = x0 + ((event.clientX - box.left) / box.width * W - left) / (W - left - right) * (x1 - x0);
    if (x < x0 || x > x1) { tip.style.display = "none"; return; }
    const nearest = line => line.points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a);
    const shown = lines.filter(l => !l.quiet), step = nearest(shown[0])[0];
    tip.replaceChildren(element("div", {}, null, "step " + count(step)));
    for (const line of shown.slice(0, 12)) {
      const row = element("div", {}, tip);
      element("i", {style: `background:${line.color}`}, row);
      row.append(line.name + "  " + number(nearest(line)[1], 5));
    }
    cursor.setAttribute("x1", X(step)); cursor.setAttribute("x2", X(step)); cursor.setAttribute("visibility", "visible");
    tip.style.display = "block";
    const flip = event.clientX + tip.offsetWidth + 24 > innerWidth;
    tip.style.left = (flip ? event.clientX - tip.offsetWidth - 14 : event.clientX + 14) + "px";
    tip.style.top = event.clientY + 14 + "px";
  });
  svg.addEventListener("pointerleave", () => {
    tip.style.display = "none"; cursor.setAttribute("visibility", "hidden");
  });
}
)html"
                                     // Two literals: compilers limit the length of one.
                                     R"html(
function tile(label, value) {
  const card = element("div", {class: "card tile"}, document.getElementById("tiles"));
  element("small", {}, card, label);
  element("b", {}, card, value);
}

// Expert loads relative to the mean: 1 is even, and colours go by the logarithm, so half and double are as strong.
function heatMap() {
  if (!data.heat.length) return;
  const card = element("div", {class: "card chart wide"}, document.getElementById("charts"));
  const head = element("div", {class: "head"}, card);
  element("h2", {}, head, "Expert load");
  const controls = element("div", {class: "controls"}, head);
  const label = element("span", {}, controls);
  const slider = element("input", {type: "range", min: 0, max: data.heat.length - 1, value: data.heat.length - 1,
    "aria-label": "evaluation"}, controls);
  controls.append("¼×");
  element("div", {class: "scale"}, controls);
  controls.append("4× the mean");
  const grid = element("div", {class: "heat"}, card);
  const cells = data.layers.map((layer, row) => {
    element("div", {}, grid, layer);
    const line = element("div", {class: "row"}, grid);
    return data.heat[0].load[row].map(() => element("i", {}, line));
  });
  const show = index => {
    const {step, load} = data.heat[index];
    label.textContent = "after step " + count(step);
    load.forEach((row, i) => row.forEach((value, j) => {
      const cell = cells[i][j];
      const strength = Math.min(1, Math.abs(Math.log2(Math.max(value, 1e-3))) / 2);
      cell.style.background = "rgb(var(--even))";
      cell.style.backgroundImage = `linear-gradient(rgba(var(${value > 1 ? "--hot" : "--cold"}), ${strength}) 0 100%)`;
      cell.title = `${data.layers[i]}, expert ${j}: ${number(value, 3)} × the mean load`;
    }));
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  show(data.heat.length - 1);
}

document.title = data.title + " · Fathom";
document.getElementById("title").textContent = data.title;
document.getElementById("progress").textContent =
  `step ${count(data.step)} of ${count(data.total_steps)}, ${count(data.tokens)} tokens`;
document.getElementById("bar").style.width = Math.min(100, 100 * data.step / data.total_steps) + "%";
tile("Training loss", number(recent(curves.loss)));
if (data.evaluated) {
  tile("Held-out loss", number(last(curves.held_out_loss)));
  tile("Bits per byte", number(last(curves.bits_per_byte)));
}
if (curves.mtp_loss.length) tile("MTP loss", number(recent(curves.mtp_loss)));
if (data.draft_acceptance.length)
  tile(`Drafts taken (${number(data.tokens_per_step, 3)} tokens a step)`,
    number(100 * last(data.draft_acceptance[0]), 3) + " %");
if (curves.max_vio.length) tile("MaxVio, last batch", number(last(curves.max_vio), 3));
tile("Tokens / s", count(recent(curves.tokens_per_second) ?? 0));

chart("Loss", [
  {name: "each step", color: "var(--blue)", points: curves.loss, faint: true, quiet: true},
  {name: "training", color: "var(--blue)", points: smooth(curves.loss)},
  {name: "held-out", color: "var(--orange)", points: curves.held_out_loss, dots: true},
  {name: "held-out, averaged weights", color: "var(--green)", points: curves.held_out_averaged_loss, dots: true}],
  {wide: true});
const spread = (i, count) => `hsl(${210 + 150 * i / Math.max(1, count - 1)} 65% 55%)`;
chart("Held-out loss by source", data.source_loss.map(({name, points}, i) => (
  {name, color: spread(i, data.source_loss.length), points, dots: true})));
chart("Bits per byte, held-out", [{name: "bits per byte", color: "var(--orange)", points: curves.bits_per_byte, dots: true}]);
chart("MTP loss", [
  {name: "each step", color: "var(--violet)", points: curves.mtp_loss, faint: true, quiet: true},
  {name: "MTP", color: "var(--violet)", points: smooth(curves.mtp_loss)}]);
chart("MTP drafts that the main head takes, held-out text", data.draft_acceptance.flatMap((points, k) => {
  const name = data.draft_acceptance.length > 1 ? `, depth ${k + 1}` : "", color = part => `hsl(${265 - 40 * k} 60% ${part}%)`;
  return [{name: "greedy" + name, color: color(55), points, dots: true},
    {name: "sampled" + name, color: color(75), points: data.sampled_draft_acceptance[k] ?? [], dots: true}];
}));
chart("Facts found in made-up texts", [
  {name: "found", color: "var(--green)", points: data.needle_accuracy, dots: true}], {zero: true});
chart("Learning rate", [{name: "learning rate", color: "var(--green)", points: curves.learning_rate}], {zero: true});
chart("Gradient norm, before clipping", [
  {name: "each step", color: "var(--green)", points: curves.gradient_norm, faint: true, quiet: true},
  {name: "norm", color: "var(--green)", points: smooth(curves.gradient_norm)}], {zero: true});
for (const [title, points, color] of [["Batch size, sequences", curves.batch_size, "var(--blue)"],
    ["MTP loss factor λ", curves.mtp_loss_factor, "var(--violet)"],
    ["Bias update rate γ", curves.router_bias_update_rate, "var(--orange)"]])
  if (points.some(p => p[1] !== points[0][1])) chart(title, [{name: title, color, points}], {zero: true});
chart("MaxVio, mean over layers", [
  {name: "each batch", color: "var(--blue)", points: curves.max_vio, faint: true, quiet: true},
  {name: "batch, training", color: "var(--blue)", points: smooth(curves.max_vio)},
  {name: "batch, held-out text", color: "var(--green)", points: curves.held_out_batch_max_vio, dots: true},
  {name: "global, held-out text", color: "var(--orange)", points: curves.held_out_max_vio, dots: true}], {zero: true});
const perLayer = (curves, options) => curves.map((points, i) => ({
  name: data.layers[i], color: spread(i, data.layers.length), points, ...options}));
chart("MaxVio per layer, batch", perLayer(data.layer_max_vio.map(smooth), {}), {zero: true});
chart("MaxVio per layer, global, held-out text", perLayer(data.held_out_layer_max_vio, {dots: true}), {zero: true});
chart("Tokens per second", [{name: "tokens/s", color: "var(--blue)", points: curves.tokens_per_second}], {zero: true, wide: true});
heatMap();
if (data.needle_picture)
  element("div", {class: "card chart"}, document.getElementById("charts")).innerHTML = data.needle_picture;
const facts = document.getElementById("facts");
for (const [name, value] of data.facts) {
  const entry = element("div", {}, facts);
  element("dt", {}, entry, name);
  element("dd", {}, entry, value);
}
</script>
</body>
</html>
)html";

}  // namespace fathom
