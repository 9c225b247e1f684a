"use strict";
// Everything that a model wrote reaches the screen through textContent; no HTML is ever made from text.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 6; // classes c0..c5 in the style

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = String(text);
  return made;
}

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

function number(value, digits = 3) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

function signed(value) {
  return value === null ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
}

// The advantage of a completion: the mean over its tokens where they differ.
function advantageOf(row) {
  const known = (row.advantage || []).filter((value) => value !== null);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
}

// ---------------------------------------------------------------- pictures

// `[predicted, true, worth]` of the first part whose detail names pairs.
function matchedPairs(row) {
  for (const [, , detail] of row.parts || []) {
    if (!detail || !detail.startsWith("{")) continue;
    const found = JSON.parse(detail).pairs;
    if (Array.isArray(found) && found.every((pair) => Array.isArray(pair) && pair.length === 3)) return found;
  }
  return [];
}

function picture(example, boxes, pairs, index) {
  const made = shape("svg", { viewBox: "0 0 1000 1000", class: "picture", role: "img" });
  const title = shape("title", {});
  const own = (list) => (list || []).map((box, place) => [box, place]).filter(([box]) => box[4] === index);
  title.textContent = `${own(example.boxes).length} true boxes, ${own(boxes).length} predicted`;
  made.append(title);
  const source = shape("image", { width: 1000, height: 1000, preserveAspectRatio: "none" });
  source.setAttribute("href", DATA.images[example.images[index]]);
  made.append(source);
  for (const [box] of own(example.boxes)) made.append(rectangle(box, "true"));
  for (const [box] of own(boxes)) made.append(rectangle(box, "predicted"));
  for (const [predicted, truth, worth] of pairs) {
    const a = (boxes || [])[predicted], b = (example.boxes || [])[truth];
    if (!a || !b || a[4] !== index || worth <= 0) continue;
    const [x1, y1, x2, y2] = [...centre(a), ...centre(b)];
    const line = shape("line", { x1, y1, x2, y2, class: "pair" });
    const said = shape("title", {});
    said.textContent = `predicted ${predicted + 1} and true ${truth + 1}: ${number(worth)}`;
    line.append(said);
    made.append(line, shape("circle", { cx: x1, cy: y1, r: 14, class: "pair-end predicted" }));
    made.append(shape("circle", { cx: x2, cy: y2, r: 14, class: "pair-end true" }));
  }
  return made;
}

function centre([x1, y1, x2, y2]) {
  return [(x1 + x2) * 500, (y1 + y2) * 500];
}

// An inverted box has no inside to draw: its outline is crossed out by the style.
function rectangle([x1, y1, x2, y2], kind) {
  const [left, right] = [Math.min(x1, x2) * 1000, Math.max(x1, x2) * 1000];
  const [top, bottom] = [Math.min(y1, y2) * 1000, Math.max(y1, y2) * 1000];
  const inverted = x2 <= x1 || y2 <= y1 ? " inverted" : "";
  return shape("rect", { x: left, y: top, width: right - left, height: bottom - top, class: kind + inverted });
}

function pictures(example, boxes, pairs) {
  const row = element("div", "pictures");
  example.images.forEach((_, index) => row.append(picture(example, boxes, pairs, index)));
  return row;
}

// ---------------------------------------------------------------- texts

// How a token is coloured: opacity of blue for what is good or likely, of orange for what is bad or unlikely.
function tint(row, place, colour, scale) {
  if (colour === "logprob") return { kind: "low", strength: Math.min(1, -(row.logprobs[place] ?? 0) / 4) };
  const values = row.advantage || [];
  const value = (values.length === 1 ? values[0] : values[place]) ?? 0;
  return { kind: value < 0 ? "low" : "high", strength: Math.min(1, Math.abs(value) / scale) };
}

function paint(target, row, colour) {
  const shown = colour === "advantage" ? row.advantage : colour === "logprob" && row.logprobs;
  const lengths = row.tokens || (colour === "advantage" && row.advantage && row.advantage.length === 1 ? [row.text.length] : null);
  if (!shown || !lengths) {
    target.textContent = row.text;
    return;
  }
  const scale = colour === "advantage" ? Math.max(1, ...row.advantage.map((value) => Math.abs(value ?? 0))) : 1;
  let at = 0;
  lengths.forEach((length, place) => {
    if (!length) return;
    const token = element("span", "token", row.text.slice(at, at + length));
    const { kind, strength } = tint(row, place, colour, scale);
    token.style.setProperty("--strength", `${Math.round(strength * 70)}%`);
    token.classList.add(kind);
    const logprob = row.logprobs && row.logprobs[place] !== undefined ? `log-prob ${number(row.logprobs[place], 2)}` : "";
    if (logprob) token.title = logprob;
    target.append(token);
    at += length;
  });
}

// ---------------------------------------------------------------- one completion

function partRow(name, [value, status, detail], full) {
  const line = element("div", "part");
  line.append(element("span", "part-name", name));
  const bar = element("meter", "bar");
  bar.min = Math.min(0, value ?? 0);
  bar.max = Math.max(1, value ?? 0);
  bar.value = value ?? 0;
  line.append(bar, element("span", "part-value", value === null ? status || "–" : number(value, 2)));
  if (status && status !== "ok") line.classList.add("not-ok");
  if (full && detail) line.append(element("code", "part-detail", detail));
  return line;
}

function heading(row) {
  const line = element("div", "heading");
  line.append(element("strong", "", row.reward === null ? row.status && row.status !== "ok" ? row.status : "no total" : number(row.reward)));
  const advantage = advantageOf(row);
  const chip = element("span", "advantage", `adv ${signed(advantage)}`);
  chip.classList.add(advantage === null || advantage === 0 ? "flat" : advantage > 0 ? "good" : "bad");
  line.append(chip);
  if (row.finish === "length") line.append(element("span", "cut", "cut off"));
  return line;
}

function card(row, example, group) {
  const made = element("button", "card");
  made.type = "button";
  made.append(heading(row));
  if (example.images.length) made.append(picture(example, row.boxes, matchedPairs(row), 0));
  DATA.parts.forEach((name, place) => made.append(partRow(name, row.parts[place], false)));
  const text = element("div", "text");
  paint(text, row, byId("colour").value);
  made.append(text);
  made.addEventListener("click", () => openDetail(row, example, group));
  return made;
}

function openDetail(row, example, group) {
  const dialog = byId("detail");
  dialog.replaceChildren();
  const close = element("button", "close", "Close (Esc)");
  close.type = "button";
  close.addEventListener("click", () => dialog.close());
  dialog.append(close, element("h2", "", `Step ${group.step}, group ${group.place}: ${group.example}`), heading(row));
  if (example.images.length) dialog.append(pictures(example, row.boxes, matchedPairs(row)));
  const parts = element("div", "parts");
  DATA.parts.forEach((name, place) => parts.append(partRow(name, row.parts[place], true)));
  if (row.detail) parts.append(element("code", "part-detail", row.detail));
  dialog.append(parts);
  const text = element("pre", "");
  paint(text, row, byId("colour").value);
  dialog.append(element("h3", "", "Completion"), text, element("h3", "", "Prompt"), element("pre", "", example.prompt));
  const truth = Object.entries(example.truth).map(([name, value]) => `${name}: ${value}`).join("\n");
  if (truth) dialog.append(element("h3", "", "Reference"), element("pre", "", truth));
  dialog.showModal();
}

// ---------------------------------------------------------------- the list of groups, drawn where it is looked at

const STEPS = [...new Set(DATA.groups.map((group) => group.step))].sort((a, b) => a - b);
const viewport = byId("viewport"), spacer = byId("spacer");
let listed = []; // [group, its rows that match, best advantage first]
let drawn = new Map(); // place in the list -> element
let height = 0; // of a strip, the same for all

function matches(row) {
  const text = byId("search").value.toLowerCase(), status = byId("status").value;
  if (text && !row.text.toLowerCase().includes(text)) return false;
  if (status && row.status !== status && !row.parts.some((part) => part[1] === status)) return false;
  const part = byId("part").value, condition = byId("condition").value;
  if (part === "" || condition === "") return true;
  const [value, own] = row.parts[Number(part)];
  if (condition === "bad") return own !== "ok" && own !== null;
  if (value === null) return false;
  return condition === "0" ? value === 0 : condition === "low" ? value < 0.5 : value >= 0.5;
}

function refresh() {
  const step = STEPS[Number(byId("step").value)], every = byId("every").checked;
  byId("step-name").textContent = every ? "all" : String(step);
  byId("step").disabled = every;
  const example = byId("example").value.toLowerCase();
  listed = [];
  let count = 0, total = 0;
  for (const group of DATA.groups) {
    if (!every && group.step !== step) continue;
    total += group.rows.length;
    if (example && !group.example.toLowerCase().includes(example)) continue;
    const rows = group.rows.filter(matches);
    if (!rows.length) continue;
    count += rows.length;
    rows.sort((a, b) => (advantageOf(b) ?? -Infinity) - (advantageOf(a) ?? -Infinity));
    listed.push([group, rows]);
  }
  byId("count").textContent = `${count} of ${total} completions in ${listed.length} groups`;
  for (const strip of drawn.values()) strip.remove();
  drawn = new Map();
  measure();
  spacer.style.height = `${listed.length * height}px`;
  viewport.scrollTop = 0;
  draw();
}

function strip(place) {
  const [group, rows] = listed[place];
  const example = DATA.examples[group.example];
  const made = element("article", "strip");
  const name = element("h2", "strip-name", `step ${group.step} · ${group.example}`);
  name.title = example.prompt;
  const cards = element("div", "cards");
  rows.forEach((row) => cards.append(card(row, example, group)));
  made.append(name, cards);
  return made;
}

function measure() {
  if (!listed.length) return;
  const probe = strip(0);
  probe.classList.add("probe");
  spacer.append(probe);
  height = probe.offsetHeight + 12;
  probe.remove();
}

function draw() {
  const first = Math.max(0, Math.floor(viewport.scrollTop / height) - 1);
  const last = Math.min(listed.length - 1, Math.ceil((viewport.scrollTop + viewport.clientHeight) / height) + 1);
  for (const [place, made] of drawn) {
    if (place < first || place > last) {
      made.remove();
      drawn.delete(place);
    }
  }
  for (let place = first; place <= last; place++) {
    if (drawn.has(place)) continue;
    const made = strip(place);
    made.style.top = `${place * height}px`;
    made.dataset.place = place;
    drawn.set(place, made);
    const next = [...spacer.children].find((other) => Number(other.dataset.place) > place);
    spacer.insertBefore(made, next || null); // in the order of the list, so that Tab follows it
  }
}

// ---------------------------------------------------------------- curves

function chart({ title, lines }) {
  const made = element("figure", "chart");
  made.append(element("figcaption", "", title));
  const points = lines.flatMap((line) => line.points);
  const [left, right] = extent(points.map((point) => point[0]));
  const [low, high] = extent(points.map((point) => point[1]));
  const x = (value) => 52 + (440 * (value - left)) / (right - left);
  const y = (value) => 190 - (176 * (value - low)) / (high - low);
  const area = shape("svg", { viewBox: "0 0 500 222", role: "img", "aria-label": title });
  for (const share of [0, 0.5, 1]) {
    const value = low + share * (high - low);
    area.append(shape("line", { x1: 52, x2: 492, y1: y(value), y2: y(value), class: "grid" }));
    area.append(label(46, y(value) + 4, short(value), "end"));
  }
  for (const share of [0, 0.5, 1]) {
    const step = Math.round(left + share * (right - left));
    area.append(label(x(step), 212, share === 0.5 ? `step ${step}` : step, share === 0 ? "start" : share === 1 ? "end" : "middle"));
  }
  const legend = element("p", "legend");
  lines.forEach((line, place) => {
    const own = `c${place % COLOURS}`;
    area.append(shape("polyline", { points: line.points.map(([a, b]) => `${x(a)},${y(b)}`).join(" "), class: `line ${own}` }));
    const entry = element("span", `entry ${own}`);
    entry.append(element("i", ""), element("span", "", line.name));
    legend.append(entry);
  });
  made.append(area, legend);
  return made;
}

function extent(values) {
  const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

function short(value) {
  return Math.abs(value) >= 1000 || (value !== 0 && Math.abs(value) < 0.001) ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

function label(x, y, text, anchor) {
  const made = shape("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

// ---------------------------------------------------------------- before and after

function pairRow(row) {
  const example = DATA.examples[row.example];
  const made = element("article", "pair-row");
  const truth = example.truth.label ? ` · truth: ${example.truth.label}` : "";
  made.append(element("h2", "strip-name", row.example + truth));
  row.answers.forEach((answer, place) => {
    const side = element("div", "side");
    const iou = answer.iou === null ? "" : `, IoU ${number(answer.iou, 2)}`;
    side.append(element("div", "heading", `after ${DATA.pairs.stages[place]}${iou}`));
    if (example.images.length) side.append(pictures(example, answer.boxes, []));
    side.append(element("pre", "", answer.text));
    made.append(side);
  });
  return made;
}

// ---------------------------------------------------------------- tabs, keys, start

const TABS = ["rollouts", "curves", "pairs"];

function openTab(name) {
  for (const tab of TABS) {
    byId(tab).hidden = tab !== name;
    byId(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
    byId(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
  }
  if (name === "rollouts" && listed.length) draw();
}

function moveTab(event) {
  if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  const usable = TABS.filter((tab) => !byId(`tab-${tab}`).disabled);
  const at = usable.findIndex((tab) => `tab-${tab}` === event.target.id);
  const next = usable[(at + (event.key === "ArrowRight" ? 1 : usable.length - 1)) % usable.length];
  openTab(next);
  byId(`tab-${next}`).focus();
}

function onKey(event) {
  const typing = event.target.matches("input, select, [role=tab]"), open = byId("detail").open;
  if (event.ctrlKey || event.metaKey || event.altKey || open || byId("rollouts").hidden) return;
  if (event.key === "/" && !typing) {
    byId("search").focus();
    event.preventDefault();
  } else if (event.key === "Escape" && typing) {
    viewport.focus();
  } else if (!typing && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
    byId("step").value = Number(byId("step").value) + (event.key === "ArrowRight" ? 1 : -1);
    refresh();
    viewport.focus();
    event.preventDefault();
  } else if (!typing && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const place = Math.round(viewport.scrollTop / height) + (event.key === "ArrowDown" ? 1 : -1);
    viewport.scrollTop = place * height;
    event.preventDefault();
  }
}

function option(select, value, text) {
  const made = element("option", "", text);
  made.value = value;
  byId(select).append(made);
}

function start() {
  byId("notes").textContent = DATA.notes.join(" ");
  byId("step").max = String(STEPS.length - 1);
  byId("step").value = String(STEPS.length - 1);
  const statuses = new Set(DATA.groups.flatMap((group) => group.rows.flatMap((row) => [row.status, ...row.parts.map((part) => part[1])])));
  for (const status of [...statuses].filter(Boolean).sort()) option("status", status, status);
  DATA.parts.forEach((name, place) => option("part", String(place), name));
  if (!DATA.tokens) byId("colour").querySelector("[value=logprob]").disabled = true;
  byId("curves").append(element("p", "caption", "Each step as it was recorded, not smoothed."));
  DATA.curves.forEach((panel) => byId("curves").append(chart(panel)));
  byId("pairs").append(element("p", "caption", "Greedy answers to test examples that are evenly spaced through the set, not chosen."));
  DATA.pairs.rows.forEach((row) => byId("pairs").append(pairRow(row)));
  byId("tab-curves").disabled = !DATA.curves.length;
  byId("tab-pairs").disabled = !DATA.pairs.rows.length;
  for (const tab of TABS) {
    byId(`tab-${tab}`).addEventListener("click", () => openTab(tab));
    byId(`tab-${tab}`).addEventListener("keydown", moveTab);
  }
  byId("filters").addEventListener("input", refresh);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  viewport.addEventListener("scroll", draw, { passive: true });
  window.addEventListener("resize", refresh);
  document.addEventListener("keydown", onKey);
  openTab("rollouts");
  refresh();
}

start();
