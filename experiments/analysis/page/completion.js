// One completion: its boxes on the pictures, its coloured text, its card and its dialog.

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
