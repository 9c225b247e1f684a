// The list of groups, the tabs, the keys; the last of the page's scripts, which starts it.

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
