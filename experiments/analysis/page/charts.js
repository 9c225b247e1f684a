// The tabs beside the rollouts.

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
