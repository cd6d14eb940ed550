"use strict";
// The comparison's page: sorts tables, draws the charts, browses questions. Every text goes onto the
// page as text, or, where a chart reads markup, escaped: models wrote some of them.

const data = JSON.parse(document.getElementById("data").textContent);
const INK = "#333333", FAINT = "#8A8A8A", REFERENCE = "#009E73";
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
const PAGE = 20; // questions that are put on the page at a time
const SHOWN = 8; // groups whose curves are drawn at first

const text = (number) => (number === null || number === undefined ? null : data.texts[number]);
const plain = (words) => words.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const short = (words, most) => (words.length > most ? words.slice(0, most - 2) + " …" : words);
const digits = (value) => (value === null ? "–" : value.toFixed(3));

function element(name, words, kind) {
  const made = document.createElement(name);
  if (words !== undefined) made.textContent = words;
  if (kind) made.className = kind;
  return made;
}

// Tables.

function sortBy(head) {
  const table = head.closest("table"), place = [...head.parentNode.children].indexOf(head);
  const body = table.tBodies[0], before = head.getAttribute("aria-sort");
  const first = head.dataset.better === "higher" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = before === first ? other : first, sign = order === "ascending" ? 1 : -1;
  for (const one of head.parentNode.children) one.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const keyed = [...body.rows].map((row) => [row.children[place].dataset.value, row]);
  keyed.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === ""); // what was not measured stands last
    const numeric = !isNaN(a) && !isNaN(b);
    return sign * (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
  });
  body.append(...keyed.map(([, row]) => row));
}

// The forget-retain plane, and the card of the run that is pointed at.

function fillCard(root, section, run) {
  const card = root.querySelector(".card"), group = section.groups[run.group];
  if (!card) return;
  card.replaceChildren(element("h4", group.label), element("p", `${run.name}, seed ${run.seed}`));
  const number = section.runs.indexOf(run);
  for (const plane of section.planes) {
    const point = plane.runs[number];
    const across = point && (plane.log ? point[0].toExponential(1) : digits(point[0]));
    if (point) card.append(element("p", `${plane.name}: ${across}, ${digits(point[1])}${point[2] ? "; over-forgotten" : ""}`));
  }
  card.append(element("p", run.verdict));
  for (const [metric, rule, value, met] of run.conditions) {
    card.append(element("p", `${met ? "✓ met" : "✗ not met"}: ${metric} ${rule || ""} (${value})`));
  }
  card.append(element("pre", run.command));
  const answers = section.sets[run.answers.after];
  for (const asked of answers ? section.samples : []) {
    const [split, , question, truth] = section.questions[asked];
    card.append(element("p", `${split}: ${text(question)}`), answerOf("truth", text(truth)));
    card.append(answerOf("answer", text(answers[0][asked]), text(truth), answers[1][asked]));
  }
  for (const row of root.querySelectorAll("tbody tr")) {
    row.classList.toggle("chosen", row.dataset.group === String(run.group));
  }
}

function answerOf(name, words, truth, score) {
  const line = element("p");
  line.append(element("b", `${name}${score === null || score === undefined ? "" : ` (${digits(score / 1000)})`}: `));
  line.append(words !== null && words === truth ? element("span", "the truth, word for word", "same")
    : element("span", words === null ? "–" : words || "(empty)"));
  return line;
}

function drawPlane(root, section) {
  const chart = root.querySelector("[data-chart=plane]");
  if (!chart) return;
  const chosen = root.querySelector("[data-plane]");
  const show = (event) => {
    const run = event.points[0].customdata;
    if (run !== undefined) fillCard(root, section, section.runs[run]);
  };
  const draw = () => {
    const plane = section.planes[chosen.value];
    for (const words of root.querySelectorAll("[data-of-plane]")) words.hidden = words.dataset.ofPlane !== chosen.value;
    Plotly.react(chart, tracesOf(section, plane), layout({
      xaxis: axis(plane.across, plane.log ? { type: "log", exponentformat: "power", range: plane.reach.map(Math.log10) } : { range: plane.reach }),
      yaxis: axis(plane.up, { range: [plane.bottom, 1 + 0.04 * (1 - plane.bottom)] }),
      shapes: linesOf(plane), showlegend: true, legend: { orientation: "h", y: -0.2, x: 0 }, hovermode: "closest",
    }), CONFIG);
  };
  draw();
  chart.on("plotly_hover", show);
  chart.on("plotly_click", show);
  chosen.addEventListener("change", draw);
  const first = section.choice ?? section.front[0] ?? 0;
  fillCard(root, section, section.runs[section.groups[first].runs[0]]);
}

// Where a group lies: at the mean of its runs, which is not kept where there is one.
const meanOf = (section, plane, place) => plane.groups[place] ?? plane.runs[section.groups[place].runs[0]];

function tracesOf(section, plane) {
  const traces = [], front = new Set(plane.front);
  const told = plane.log ? "%{x:.2e}, up %{y:.3f}" : "%{x:.3f}, up %{y:.3f}";
  if (plane.stairs.length) {
    traces.push({ x: plane.stairs.map((p) => p[0]), y: plane.stairs.map((p) => p[1]), mode: "lines", fill: "tozeroy",
      fillcolor: "rgba(138,138,138,0.12)", line: { color: INK, width: 1.3, dash: "dash" }, hoverinfo: "skip",
      name: `front, hypervolume ${digits(plane.hypervolume)}` });
  }
  const marks = { target: ["circle-open", INK, 17, 2], reference: ["star", REFERENCE, 17, 1] };
  for (const [name, [symbol, color, size, width]] of Object.entries(marks)) {
    const places = plane.landmarks[name];
    if (!places) continue;
    traces.push({ x: places.map((p) => p[0]), y: places.map((p) => p[1]), mode: "markers", name, cliponaxis: false,
      marker: { symbol, color, size, line: { color: symbol === "star" ? "#fff" : color, width } },
      hovertemplate: `${name}<br>across ${told}<extra></extra>` });
  }
  section.groups.forEach((group, place) => {
    const label = plain(short(group.label, 70));
    const trace = (points, runs, size, name) => traces.push({
      x: points.map((p) => p[0]), y: points.map((p) => p[1]), customdata: runs, mode: "markers", showlegend: false, cliponaxis: false,
      marker: { color: group.colour, symbol: points.map((p) => group.symbol + (p[2] ? "-open" : "")), size, opacity: size > 8 ? 1 : 0.6,
        line: { color: points.map((p) => p[2] ? group.colour : front.has(place) ? INK : "#fff"), width: size > 8 ? (points[0][2] ? 2 : 1.2) : points[0][2] ? 1 : 0 } },
      hovertemplate: `${name}<br>across ${told}<extra></extra>` });
    const runs = group.runs.filter((number) => plane.runs[number]);
    if (runs.length > 1) trace(runs.map((n) => plane.runs[n]), runs, 6, `${label}, one seed`);
    const mean = meanOf(section, plane, place);
    if (mean) trace([mean], [group.runs[0]], 12, runs.length > 1 ? `${label}, mean of ${runs.length}` : label);
  });
  if (plane.runs.some((point) => point && point[2])) {
    traces.push({ x: [null], y: [null], mode: "markers", name: "hollow: below the reference, over-forgotten",
      marker: { symbol: "circle-open", color: INK, size: 9, line: { width: 2 } } });
  }
  const taken = section.choice === null ? null : meanOf(section, plane, section.choice);
  if (taken) {
    traces.push({ x: [taken[0]], y: [taken[1]], mode: "markers", name: "recommended", cliponaxis: false, hoverinfo: "skip",
      marker: { symbol: "circle-open", color: REFERENCE, size: 24, line: { width: 2.5 } } });
  }
  return traces;
}

function linesOf(plane) {
  const look = { type: "line", layer: "below", line: { color: REFERENCE, width: 1, dash: "dot" } }, lines = [];
  for (const [x, y] of (plane.landmarks.reference || []).slice(0, 1)) {
    lines.push({ ...look, x0: x, x1: x, yref: "paper", y0: 0, y1: 1 }, { ...look, y0: y, y1: y, xref: "paper", x0: 0, x1: 1 });
  }
  if (plane.floor !== null) {
    lines.push({ ...look, line: { ...look.line, color: FAINT }, x0: plane.floor, x1: plane.floor, yref: "paper", y0: 0, y1: 1 });
  }
  return lines;
}

const axis = (title, more) => ({ title: { text: title, font: { size: 12 } }, gridcolor: "#E6E6E6", linecolor: FAINT, zeroline: false,
  automargin: true, ...more });
const layout = (more) => ({ margin: { l: 50, r: 12, t: 12, b: 45 }, font: { color: INK, size: 11 }, paper_bgcolor: "#fff",
  plot_bgcolor: "#fff", dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom", ...more });

// Training curves, of the groups that are ticked.

function drawCurves(root, section) {
  const ticked = new Set([...root.querySelectorAll(".choices input:checked")].map((box) => Number(box.dataset.group)));
  const log = root.querySelector("[data-log]").checked;
  const titles = { forget: "forget loss", retain: "retain loss", rate: "learning rate" };
  for (const [name, title] of Object.entries(titles)) {
    const traces = section.runs.filter((run) => ticked.has(run.group)).map((run) => {
      const group = section.groups[run.group];
      return { x: run.curves.step, y: run.curves[name], mode: run.curves.step.length > 1 ? "lines" : "markers",
        line: { color: group.colour, dash: group.dash, width: 1.4, shape: name === "rate" ? "hv" : "linear" },
        marker: { color: group.colour, symbol: group.symbol }, customdata: [run.group], showlegend: false,
        hovertemplate: `${plain(short(group.label, 60))}, seed ${run.seed}<br>step %{x}: %{y:.4g}<extra></extra>` };
    });
    const scale = name === "rate" || log ? { type: "log", exponentformat: "power", dtick: undefined } : {};
    Plotly.react(root.querySelector(`[data-chart=${name}]`), traces, layout({
      title: { text: name === "rate" ? `${title} (log scale)` : title, font: { size: 13 }, x: 0.02, xanchor: "left" },
      margin: { l: 50, r: 12, t: 36, b: 40 }, xaxis: axis("step", {}), yaxis: axis("", scale), hovermode: "closest",
    }), CONFIG);
  }
}

function startCurves(root, section) {
  const boxes = [...root.querySelectorAll(".choices input")];
  const first = new Set([section.baseline, ...section.front, ...section.groups.keys()].slice(0, Math.max(SHOWN, section.front.length + 1)));
  const most = [...first].slice(0, SHOWN);
  boxes.forEach((box, place) => { box.checked = boxes.length <= SHOWN || most.includes(place); });
  root.addEventListener("change", (event) => {
    if (event.target.matches(".choices input, [data-log]")) drawCurves(root, section);
  });
  for (const button of root.querySelectorAll("[data-all]")) {
    button.addEventListener("click", () => {
      for (const box of boxes) box.checked = Boolean(button.dataset.all);
      drawCurves(root, section);
    });
  }
  const steps = Math.max(0, ...section.runs.map((run) => run.curves.step.at(-1) || 0));
  const points = Math.max(0, ...section.runs.map((run) => run.curves.step.length));
  if (points && points < steps) {
    root.querySelector("[data-points]").textContent = `${points} points a curve: a loss is the mean of as many steps in a row.`;
  }
  drawCurves(root, section);
}

// Questions and answers.

function startQuestions(root, section) {
  const at = (name) => root.querySelector(`[data-${name}]`);
  const first = root.querySelector("[data-run=first]"), second = root.querySelector("[data-run=second]"), split = at("split"), sort = at("sort");
  const name = (run) => short(`${section.groups[run.group].label}, seed ${run.seed}`, 90);
  second.append(new Option("nothing", ""));
  section.runs.forEach((run, number) => {
    first.append(new Option(name(run), number));
    second.append(new Option(name(run), number));
  });
  split.append(new Option("all", ""));
  for (const one of new Set(section.questions.map((question) => question[0]))) split.append(new Option(one, one));
  if ([...split.options].some((option) => option.value === "forget")) split.value = "forget";
  let found = [], count = PAGE;

  const setOf = (run, stage) => (run ? section.sets[run.answers[stage]] : undefined);
  const columns = (number) => {
    const run = section.runs[first.value], beside = section.runs[second.value];
    const sets = [["before", setOf(run, "before")], [`after: ${name(run)}`, setOf(run, "after")]];
    if (beside) sets.push([`after: ${name(beside)}`, setOf(beside, "after")]);
    sets.push(["reference", setOf(run, "reference")]);
    return sets.filter(([, set]) => set).map(([title, set]) => [title, text(set[0][number]), set[1][number]]);
  };

  function choose() {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const run = section.runs[first.value], after = setOf(run, "after"), before = setOf(run, "before");
    found = section.questions.map((_, number) => number).filter((number) => {
      const [place, , question, truth] = section.questions[number];
      if (split.value && place !== split.value) return false;
      if (!words.length) return true;
      const all = [text(question), text(truth), ...columns(number).map(([, words]) => words || "")].join("\n").toLowerCase();
      return words.every((word) => all.includes(word));
    });
    const score = (number) => (after && after[1][number] !== null ? after[1][number] : NaN);
    const change = (number) => Math.abs(score(number) - (before ? before[1][number] : NaN));
    const last = (value, worst) => (Number.isNaN(value) ? worst : value);
    const orders = { lowest: (a, b) => last(score(a), 1e9) - last(score(b), 1e9),
      highest: (a, b) => last(score(b), -1) - last(score(a), -1), change: (a, b) => last(change(b), -1) - last(change(a), -1) };
    if (orders[sort.value]) found.sort(orders[sort.value]);
    count = PAGE;
    list();
  }

  function list() {
    at("list").replaceChildren(...found.slice(0, count).map(item));
    at("more").hidden = count >= found.length;
    const kept = section.questions.length < section.asked
      ? ` The page holds ${section.questions.length} of ${section.asked} questions, evenly spaced; all are in each run's evaluations/.` : "";
    const cut = data.cut ? " Texts of more than 600 characters are cut." : "";
    at("found").textContent = section.questions.length
      ? `${found.length} questions, ${Math.min(count, found.length)} shown.${kept}${cut}` : "No answers were generated.";
  }

  function item(number) {
    const [place, index, question, truth] = section.questions[number];
    const made = element("article", undefined, "question"), head = element("h4");
    head.append(element("span", `${place} ${index} `), document.createTextNode(text(question)));
    const answers = element("dl", undefined, "answers");
    for (const [title, words, score] of [["truth", text(truth), null], ...columns(number)]) {
      const box = element("div"), same = title !== "truth" && words !== null && words.trim() === text(truth).trim();
      box.append(element("dt", score === null ? title : `${title} (ROUGE-L ${digits(score / 1000)})`));
      box.append(same ? element("dd", "the truth, word for word", "same") : element("dd", words === null ? "–" : words || "(empty)"));
      answers.append(box);
    }
    made.append(head, answers);
    return made;
  }

  for (const one of [first, second, split, sort]) one.addEventListener("change", choose);
  at("search").addEventListener("input", choose);
  at("more").addEventListener("click", () => { count += PAGE; list(); });
  choose();
}

for (const head of document.querySelectorAll("table.sortable thead th")) {
  head.querySelector("button").addEventListener("click", () => sortBy(head));
}
for (const root of document.querySelectorAll("section.kind")) {
  const section = data.sections[root.dataset.kind];
  for (const button of root.querySelectorAll("button.show")) {
    button.addEventListener("click", () => {
      fillCard(root, section, section.runs[section.groups[button.dataset.group].runs[0]]);
      const card = root.querySelector(".card");
      if (card) card.scrollIntoView({ block: "nearest" });
    });
  }
  drawPlane(root, section);
  startCurves(root, section);
  startQuestions(root, section);
}
