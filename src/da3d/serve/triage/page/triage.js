// The triage page. The server holds the truth: what is shown of marks is what it last answered.
"use strict";

const PER_PAGE = 50;
const BARS = 8;
const REASONS = 3; // kinds of evidence to be named
const POLL = 5000;
const BINS = 50;
const SLACK = 1e-12; // a rate and a p-value that are equal may differ in the last digit
const MARKS = [
  ["anomaly", "Anomaly", "a"],
  ["normal", "Normal", "n"],
  ["benign", "Benign pattern", "b"],
];
const KINDS = { anomaly: "anomaly", normal: "normal", benign: "benign pattern" };

const state = {
  table: null,
  operating: null,
  alerts: [],
  byRow: new Map(),
  marks: new Map(),
  rule: "fpr",
  value: 0.01,
  sort: { key: "rank", up: true },
  show: "all",
  text: "",
  found: null,
  page: 0,
  selected: null,
  reasons: new Map(),
  queue: [],
  asking: false,
  drafts: new Map(), // notes that are typed and not kept yet, and the notes that they are to replace
  undo: [],
  writing: Promise.resolve(),
  undoing: Promise.resolve(),
  changes: 0,
  silent: false, // whether the problem shown is that the service did not answer the last time
};

const $ = (id) => document.getElementById(id);

// --- small things ---------------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A sentence in which `names` stand in code. */
function coded(sentence) {
  const parts = sentence.split("`");
  if (parts.length % 2 === 0) return [sentence];
  return parts.map((part, i) => (i % 2 ? make("code", { text: part }) : part));
}

function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e7)) return value.toExponential(digits - 1).replace("e+", "e");
  return value.toLocaleString("en", { maximumSignificantDigits: digits }).replaceAll(",", "\u202f");
}

const whole = (value) => (value === null ? "–" : Math.round(value).toLocaleString("en").replaceAll(",", "\u202f"));

function percent(share) {
  return `${number(100 * share)} %`;
}

function shown(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" && !Number.isInteger(value) ? number(value, 6) : String(value);
}

function say(text) {
  $("said").textContent = text;
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
  state.silent = false;
}

/** What the server answers; an error that has its words where it refuses. */
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(`ui/api/${path}`, { cache: "no-store", ...options });
  } catch {
    const error = new Error("The service does not answer, so nothing was changed. Is it still running?");
    error.silent = true;
    throw error;
  }
  const content = await response.json().catch(() => ({}));
  if (!response.ok) {
    const error = new Error(sentence(content.error || `The service answered with status ${response.status}.`));
    error.content = content;
    throw error;
  }
  return content;
}

function sentence(text) {
  const long = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.?!]$/.test(long) ? long : `${long}.`;
}

// --- threshold ------------------------------------------------------------------------------------------

/** How many of ascending `levels` are at most `rate`. */
function upTo(levels, rate) {
  let low = 0;
  let high = levels.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (levels[middle] <= rate + SLACK) low = middle + 1;
    else high = middle;
  }
  return low;
}

function counts() {
  const { rows, levels, alarms, suppressed } = state.operating;
  if (state.rule === "fpr") {
    const place = upTo(levels, state.value) - 1;
    return { alarms: place < 0 ? 0 : alarms[place], suppressed: place < 0 ? 0 : suppressed[place] };
  }
  return { alarms: Math.min(budgeted(), alarms.at(-1)), suppressed: null };
}

function isAlarm(alert) {
  if (alert.suppressed) return false;
  if (state.rule === "fpr") return alert.level <= state.value + SLACK;
  return alert.rank !== null && alert.rank <= budgeted();
}

/** How many rows the alert budget allows; a whole number of rows stays that number through its share. */
const budgeted = () => Math.floor((state.operating.rows * state.value) / 1000 + 1e-6);

function range() {
  const { rows } = state.operating;
  return state.rule === "fpr" ? [state.table.resolution, 0.5] : [Math.min(1000 / rows, 100), 500];
}

function showThreshold() {
  const [low, high] = range();
  const slider = $("slider");
  const logs = [Math.log10(low), Math.log10(high)];
  [slider.min, slider.max] = logs;
  slider.step = (logs[1] - logs[0]) / 400;
  slider.value = Math.log10(Math.min(high, Math.max(low, state.value)));
  const text =
    state.rule === "fpr" ? percent(state.value) : `${number(state.value)} of 1\u202f000 rows`;
  $("slider-label").textContent = state.rule === "fpr" ? "False-positive rate" : "Alert budget";
  $("slider-value").textContent = text;
  slider.setAttribute("aria-valuetext", text);
  showCounts();
  drawHistogram();
}

function showCounts() {
  const { rows } = state.operating;
  const now = counts();
  $("alarms").textContent = whole(now.alarms);
  $("alarms-note").textContent = `of ${whole(rows)} rows, ${percent(now.alarms / rows)}`;
  $("chance").textContent = state.rule === "fpr" ? `≤ ${whole(rows * Math.max(state.value, state.table.resolution))}` : "–";
  $("suppressed-figure").hidden = !state.operating.suppressed.at(-1) || now.suppressed === null;
  $("suppressed").textContent = now.suppressed === null ? "" : whole(now.suppressed);
  const looked = state.alerts.filter((alert) => isAlarm(alert) && markOf(alert.row).mark).length;
  $("open").textContent = whole(now.alarms - looked);
}

/** All rows by p-value, on a logarithmic axis that ends where the held-out rows can tell no more. */
function drawHistogram() {
  const { levels, alarms } = state.operating;
  const least = Math.log10(state.table.resolution);
  const bins = Array.from({ length: BINS }, () => [0, 0]);
  levels.forEach((level, i) => {
    const count = alarms[i] - (i ? alarms[i - 1] : 0);
    const place = level ? Math.log10(level) / least : 1;
    const bin = bins[Math.min(BINS - 1, Math.max(0, Math.floor((1 - place) * BINS)))];
    bin[0] += count;
    if (state.rule === "fpr" && level <= state.value + SLACK) bin[1] += count;
  });
  if (state.rule === "budget") {
    let left = counts().alarms;
    for (const bin of bins) {
      bin[1] = Math.min(bin[0], left);
      left -= bin[1];
    }
  }
  const most = Math.log10(1 + Math.max(...bins.map((bin) => bin[0])));
  const step = 400 / BINS;
  const bars = bins.flatMap(([all, on], i) => {
    if (!all) return [];
    const tall = (60 * Math.log10(1 + all)) / most;
    const part = all && (tall * on) / all;
    return [bar(i * step, tall, step, ""), ...(on ? [bar(i * step, part, step, " on")] : [])];
  });
  $("histogram").replaceChildren(...bars);
  $("histogram-text").textContent =
    `All rows by p-value, from ${number(state.table.resolution, 2)} or stranger (left) to 1 (right), heights on a log scale; alarms are coloured.`;
}

function bar(x, tall, step, kind) {
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const sizes = { x: x + 0.5, y: 60 - tall, width: step - 1, height: tall };
  for (const [name, value] of Object.entries(sizes)) rect.setAttribute(name, value.toFixed(2));
  rect.setAttribute("class", `bar${kind}`);
  return rect;
}

// --- the table ------------------------------------------------------------------------------------------

const markOf = (row) => state.marks.get(row) || { mark: null, note: "", version: 0 };
const reasonOf = (row) => {
  const found = state.reasons.get(row);
  return found && found.explanation ? found.explanation.sentence : "";
};

function columns() {
  return [
    { key: "rank", label: "Rank", n: true, of: (alert) => alert.rank, text: (alert) => whole(alert.rank) },
    { key: "row", label: "Row", n: true, of: (alert) => alert.row, text: (alert) => String(alert.row) },
    state.table.id && { key: "id", label: state.table.id, of: (alert) => alert.id, text: (alert) => shown(alert.id) },
    { key: "severity", label: "Severity", n: true, of: (alert) => alert.severity, text: (alert) => number(alert.severity) },
    { key: "p", label: "p-value", n: true, of: (alert) => alert.p_value, text: (alert) => number(alert.p_value, 2) },
    { key: "score", label: "Score", n: true, of: (alert) => alert.anomaly_score, text: (alert) => number(alert.anomaly_score) },
    { key: "mark", label: "Mark", kind: "said", of: (alert) => markOf(alert.row).mark || "~" },
    state.table.explains && { key: "reason", label: "Reason", kind: "reason", unsorted: true },
  ].filter(Boolean);
}

function visible() {
  const kinds = {
    all: () => true,
    alarms: isAlarm,
    open: (alert) => isAlarm(alert) && !markOf(alert.row).mark,
    marked: (alert) => markOf(alert.row).mark !== null,
  };
  const wanted = kinds[state.show] || ((alert) => markOf(alert.row).mark === state.show);
  const text = state.text.toLowerCase();
  const holds = (alert) =>
    !text ||
    String(alert.row) === text ||
    (state.found && state.found.has(alert.row)) ||
    reasonOf(alert.row).toLowerCase().includes(text) ||
    markOf(alert.row).note.toLowerCase().includes(text);
  const chosen = state.alerts.filter((alert) => wanted(alert) && holds(alert));
  const { of } = columns().find((column) => column.key === state.sort.key);
  const turn = state.sort.up ? 1 : -1;
  const compare = (a, b) => {
    const [left, right] = [of(a), of(b)];
    if (left === right) return a.place - b.place;
    if (left === null) return 1;
    if (right === null) return -1;
    return turn * (left < right ? -1 : 1);
  };
  return chosen.sort(compare);
}

function showHeads() {
  const heads = columns().map((column) => {
    const sorted = state.sort.key === column.key && (state.sort.up ? "ascending" : "descending");
    const head = make("th", { scope: "col", role: "columnheader", "aria-sort": sorted, class: column.n ? "n" : null });
    if (column.unsorted) {
      head.textContent = column.label;
      return head;
    }
    const button = make("button", { type: "button", text: column.label, "data-key": column.key });
    button.addEventListener("click", () => {
      const again = state.sort.key === column.key;
      state.sort = { key: column.key, up: again ? !state.sort.up : !["severity", "score"].includes(column.key) };
      state.page = 0;
      showTable();
      document.querySelector(`[data-key="${column.key}"]`).focus();
    });
    head.append(button);
    return head;
  });
  $("heads").replaceChildren(...heads);
}

function showTable() {
  showHeads();
  const all = visible();
  const last = Math.max(0, Math.ceil(all.length / PER_PAGE) - 1);
  state.page = Math.min(state.page, last);
  const rows = all.slice(state.page * PER_PAGE, (state.page + 1) * PER_PAGE);
  const focused = document.activeElement && document.activeElement.closest("#body tr");
  const entry = rows.some((alert) => alert.row === state.selected) ? state.selected : rows[0] && rows[0].row;
  $("body").replaceChildren(...rows.map((alert) => line(alert, alert.row === entry)));
  if (focused) focusRow(Number(focused.dataset.row));
  $("nothing").hidden = all.length > 0;
  $("pages").textContent = all.length
    ? `${whole(state.page * PER_PAGE + 1)} to ${whole(state.page * PER_PAGE + rows.length)} of ${whole(all.length)}`
    : "";
  $("previous").disabled = state.page === 0;
  $("next").disabled = state.page === last;
  wantReasons(rows.map((alert) => alert.row));
}

function line(alert, isEntry) {
  const row = make("tr", {
    role: "row",
    "data-row": alert.row,
    tabindex: isEntry ? "0" : "-1",
    "aria-selected": String(alert.row === state.selected),
    class: isAlarm(alert) ? "alarm" : null,
  });
  for (const column of columns()) {
    const cell = make("td", {
      role: "gridcell",
      "data-label": column.label,
      class: [column.n ? "n" : "", column.kind || ""].join(" ").trim() || null,
    });
    if (column.key === "mark") {
      const { mark, note } = markOf(alert.row);
      if (mark) cell.append(make("span", { class: `tag ${mark}`, text: mark }));
      else if (alert.suppressed) cell.append(make("span", { class: "soft", text: "suppressed" }));
      if (note) cell.append(make("span", { class: "soft", text: mark ? ", note" : "note" }));
    } else if (column.key === "reason") {
      fillReason(cell, alert.row);
    } else cell.textContent = column.text(alert);
    row.append(cell);
  }
  row.addEventListener("click", () => select(alert.row));
  row.addEventListener("focus", () => {
    for (const other of $("body").children) other.tabIndex = other === row ? 0 : -1;
  });
  return row;
}

function fillReason(cell, row) {
  const found = state.reasons.get(row);
  if (!found) cell.textContent = "…";
  else if (found.error) cell.textContent = found.error;
  else cell.replaceChildren(...coded(reasonOf(row)));
}

const lineOf = (row) => document.querySelector(`#body tr[data-row="${row}"]`);

function focusRow(row) {
  const found = lineOf(row);
  if (found) found.focus({ preventScroll: false });
}

// --- reasons, one after the other -----------------------------------------------------------------------

function wantReasons(rows) {
  if (!state.table.explains) return;
  state.queue = rows.filter((row) => !state.reasons.has(row));
  nextReason();
}

async function nextReason() {
  if (state.asking) return;
  state.asking = true;
  try {
    while (state.queue.length) {
      const row = state.queue.shift();
      if (!state.reasons.has(row)) await reason(row);
    }
  } finally {
    state.asking = false;
  }
}

async function reason(row) {
  try {
    state.reasons.set(row, await ask(`rows/${row}`));
  } catch (error) {
    state.reasons.set(row, { error: error.message });
  }
  const found = lineOf(row);
  const cell = found && found.querySelector(".reason");
  if (cell) fillReason(cell, row);
  if (row === state.selected) showDetail();
  if (state.reasons.get(row).error) state.reasons.delete(row); // to be asked for again later
}

// --- one row --------------------------------------------------------------------------------------------

function select(row, { focus = false } = {}) {
  const note = $("note");
  if (note && Number(note.dataset.row) !== row) keepNote();
  state.selected = row;
  for (const each of $("body").children) {
    each.setAttribute("aria-selected", String(Number(each.dataset.row) === row));
  }
  showDetail();
  if (row === null) return;
  if (focus) focusRow(row);
  if (lineOf(row)) lineOf(row).scrollIntoView({ block: "nearest" });
  $("detail").scrollTop = 0;
  if (!state.reasons.has(row)) reason(row);
}

function close() {
  const row = state.selected;
  select(null);
  focusRow(row);
}

function showDetail() {
  const pane = $("detail");
  const alert = state.byRow.get(state.selected);
  pane.classList.toggle("open", Boolean(alert));
  if (!alert) {
    pane.replaceChildren(
      make("h2", { id: "detail-title", text: "Details" }),
      make("p", { class: "soft", text: "Choose a row to see why it is strange, and to mark it." }),
    );
    return;
  }
  // The same row again, now with its reason: nothing above that may move, a button may just be pressed or a note typed.
  const same = $("note") && Number($("note").dataset.row) === alert.row;
  if (same) $("why").replaceChildren(...reasonParts(alert));
  else {
    const parts = [heading(alert), verdict(alert), markButtons(alert.row), noteField(alert.row)];
    pane.replaceChildren(...parts, make("div", { id: "why" }, ...reasonParts(alert)));
  }
}

/** The marks of the row in the pane. Its buttons stay the same: one of them may just be pressed. So does what is
 * typed and not yet kept. */
function showPressed(row) {
  const now = markOf(row);
  for (const button of $("detail").querySelectorAll("[data-mark]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mark === now.mark));
  }
  const field = $("note");
  if (field.value === field.dataset.kept) field.value = now.note;
  if (field.value.trim() === now.note) field.dataset.kept = now.note;
}

function reasonParts(alert) {
  const found = state.reasons.get(alert.row);
  if (!found) return [make("p", { class: "soft", text: "Looking for the reason …" })];
  if (found.error) return [make("p", { class: "notice", text: found.error })];
  if (!found.explanation) {
    const said = "The model remembers no normal rows, so it cannot say why.";
    return [make("p", { class: "soft", text: said }), make("h3", { text: "The row" }), facts(found.values)];
  }
  const { explanation, values } = found;
  const parts = [make("p", { class: "sentence" }, ...coded(explanation.sentence))];
  parts.push(make("h3", { text: "What raises its score" }), ...contributions(explanation));
  parts.push(make("h3", { text: "Beside similar rows" }), beside(explanation));
  const known = new Set(explanation.contributions.map((each) => each.column));
  const others = Object.fromEntries(Object.entries(values).filter(([name]) => !known.has(name)));
  if (Object.keys(others).length) parts.push(make("h3", { text: "Also in the table" }), facts(others));
  return parts;
}

function heading(alert) {
  const name = state.table.id ? `Row ${alert.row}, ${shown(alert.id)}` : `Row ${alert.row}`;
  const shut = make("button", { type: "button", id: "close", text: "Close" });
  shut.addEventListener("click", close);
  return make("div", { class: "head" }, make("h2", { id: "detail-title", text: name }), shut);
}

function verdict(alert) {
  const kind = isAlarm(alert) ? "alarm" : alert.suppressed ? "suppressed" : "no alarm";
  return make(
    "p",
    { class: "soft" },
    make("span", { class: `mark ${kind}`, text: kind }),
    ` · severity ${number(alert.severity)} · p-value ${number(alert.p_value, 2)} · score ${number(alert.anomaly_score)}`,
  );
}

function markButtons(row) {
  const buttons = MARKS.map(([mark, label, key]) => {
    const button = make(
      "button",
      { type: "button", class: mark, "data-mark": mark, "aria-pressed": String(markOf(row).mark === mark), "aria-keyshortcuts": key },
      `${label} `,
      make("kbd", { text: key }),
    );
    button.addEventListener("click", () => toggle(row, mark));
    return button;
  });
  return make("div", { class: "buttons", role: "group", "aria-label": "Mark this row" }, ...buttons);
}

function noteField(row) {
  const field = make("textarea", { id: "note", rows: "1", maxlength: "2000", "data-row": row, placeholder: "Note" });
  const { note } = markOf(row);
  const draft = state.drafts.get(row) || { value: note, kept: note };
  field.value = draft.value;
  field.dataset.kept = draft.kept;
  field.addEventListener("input", () => state.drafts.set(row, { value: field.value, kept: field.dataset.kept }));
  field.addEventListener("blur", keepNote);
  return make("div", {}, make("label", { for: "note", class: "unseen", text: "Note" }), field);
}

function contributions({ contributions: all, nearest, evidence, gap, method }) {
  const most = Math.max(...all.map((each) => Math.abs(each.contribution)), 1e-300);
  const near = nearest[0].values;
  const items = all.map((each) => {
    const fill = make("span", { class: each.contribution < 0 ? "lowers" : null });
    fill.style.setProperty("--share", `${(100 * Math.abs(each.contribution)) / most}%`);
    const sign = each.contribution < 0 ? "−" : "+";
    return make(
      "li",
      {},
      make(
        "div",
        { class: "line" },
        make("span", {}, make("code", { text: each.column }), ` ${shown(each.value)}`),
        make("span", { text: `${sign}${number(Math.abs(each.contribution))}` }),
      ),
      make("span", { class: "track", "aria-hidden": "true" }, fill),
      make("div", { class: "soft", text: `usual: ${each.usual} · nearest normal row: ${shown(near[each.column])}` }),
    );
  });
  const found = [make("ul", { class: "bars" }, ...items.slice(0, BARS))];
  if (items.length > BARS) {
    const rest = make("ul", { class: "bars" }, ...items.slice(BARS));
    found.push(make("details", {}, make("summary", { text: `${items.length - BARS} more columns` }), rest));
  }
  const raising = evidence.filter((each) => each.contribution > 0).slice(0, REASONS);
  if (raising.length) {
    const said = raising.map((each) => `${each.meaning} +${number(each.contribution)}`);
    found.push(make("p", { class: "soft evidence", text: `By evidence: ${said.join("; ")}.` }));
  }
  const left = Math.abs(gap) > 0.001 * most ? `; ${number(gap)} remains unexplained` : "";
  found.push(make("p", { class: "soft", text: `Beside the nearest normal row, by ${method}${left}.` }));
  return found;
}

function beside({ contributions: all, nearest, counterexample, baseline_score: score }) {
  const others = nearest.map((each, i) => [i ? `Normal ${i + 1}` : "Nearest normal", each]);
  if (counterexample) others.push(["Nearest generated", counterexample]);
  const heads = ["Column", "This row", ...others.map(([name]) => name)];
  const lines = all.map((each) => [each.value, ...others.map(([, other]) => other.values[each.column])]);
  const body = all.map((each, i) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("code", { text: each.column })),
      ...lines[i].map((value) => make("td", { text: shown(value) })),
    ),
  );
  body.push(
    make(
      "tr",
      { class: "soft" },
      make("th", { scope: "row", text: "Distance, 0 to 1" }),
      make("td", { text: "–" }),
      ...others.map(([, other]) => make("td", { text: number(other.distance, 2) })),
    ),
  );
  const grid = make(
    "table",
    {},
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col", text })))),
    make("tbody", {}, ...body),
  );
  return make(
    "div",
    {},
    make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "The row beside similar rows" }, grid),
    make("p", { class: "soft", text: `The nearest normal row has the score ${number(score)}.` }),
  );
}

function facts(values) {
  const parts = Object.entries(values).flatMap(([name, value]) => [
    make("dt", {}, make("code", { text: name })),
    make("dd", { text: shown(value) }),
  ]);
  return make("dl", { class: "facts" }, ...parts);
}

// --- marks ----------------------------------------------------------------------------------------------

function toggle(row, mark) {
  const typed = typedNote(row);
  write(row, (now) => ({ mark: now.mark === mark ? null : mark, note: typed ?? now.note }));
}

function keepNote() {
  const field = $("note");
  if (!field) return;
  const row = Number(field.dataset.row);
  const note = typedNote(row);
  if (note !== null) write(row, (now) => ({ mark: now.mark, note }));
}

/** The note in the field of a row, unless another page has changed it since this one began to type: whoever
 * typed is told, and writes over it only by leaving the field again. */
function typedNote(row) {
  const field = $("note");
  if (!field || Number(field.dataset.row) !== row) return null;
  const [note, now] = [field.value.trim(), markOf(row).note];
  if (note === now || field.dataset.kept === now) return note;
  if (field.value === field.dataset.kept) {
    state.drafts.delete(row); // nothing was typed
    return null;
  }
  field.dataset.kept = now;
  state.drafts.set(row, { value: field.value, kept: now });
  problem(`Another page has noted “${now}” on row ${row} meanwhile. Leave the note again to replace that by yours.`);
  return null;
}

/** Changes wait for each other; `wanted` makes a row's entry of what the change before it has left. */
function write(row, wanted, { undoing = false } = {}) {
  state.changes += 1;
  const done = state.writing.then(() => change(row, wanted, undoing));
  state.writing = done.catch(() => {});
  return done;
}

async function change(row, wanted, undoing) {
  const before = markOf(row);
  const { mark, note } = wanted(before);
  const draft = state.drafts.get(row);
  if (draft && draft.value.trim() === note) state.drafts.delete(row); // comes back if it cannot be kept
  if (before.mark === mark && before.note === note) return true;
  const headers = { "Content-Type": "application/json", "X-Da3d-Triage": state.table.opened };
  const body = JSON.stringify({ row, mark, note, version: before.version });
  try {
    const answered =
      mark === null && !note
        ? await ask(`marks/${row}?version=${before.version}`, { method: "DELETE", headers })
        : await ask("marks", { method: "POST", headers, body });
    problem("");
    take(row, answered.entry);
    const field = $("note");
    const typing = field && Number(field.dataset.row) === row && field.value !== field.dataset.kept;
    if (typing && !undoing) field.dataset.kept = note; // what is typed on is based on what this page wrote
    if (state.drafts.has(row)) state.drafts.get(row).kept = note;
    if (!undoing) state.undo.push({ row, mark: before.mark, note: before.note, made: answered.entry });
    const what = mark ? `marked ${KINDS[mark]}` : note ? "noted on" : "unmarked";
    say(`Row ${row} ${undoing ? "is again " : ""}${what}.`);
    return true;
  } catch (error) {
    if (error.content && error.content.entry) take(row, error.content.entry);
    if (draft && !state.drafts.has(row)) state.drafts.set(row, draft);
    report(error);
    return false;
  } finally {
    showMarks([row]);
  }
}

/** Show what went wrong; that the service did not answer goes away once it does. */
function report(error) {
  problem(error.message);
  state.silent = Boolean(error.silent);
}

function take(row, entry) {
  if (entry.mark || entry.note) state.marks.set(row, entry);
  else state.marks.delete(row);
}

/** Take back the last change that this page made and nobody has overwritten since; one after the other. */
function undo() {
  state.undoing = state.undoing.then(undoLast).catch(report);
}

async function undoLast() {
  await state.writing;
  const last = state.undo.pop();
  if (!last) return;
  const now = markOf(last.row);
  if (now.mark !== last.made.mark || now.note !== last.made.note) {
    problem(`Row ${last.row} was changed on another page in the meantime, so nothing was undone.`);
    showMarks([]);
    return;
  }
  if (!(await write(last.row, () => last, { undoing: true }))) {
    state.undo.push(last);
    showMarks([]);
  }
  if (!lineOf(last.row)) return;
  select(last.row, { focus: !isTyping(document.activeElement) });
}

function showMarks(rows) {
  const counted = { anomaly: 0, normal: 0, benign: 0 };
  for (const { mark } of state.marks.values()) if (mark) counted[mark] += 1;
  const anomalies = counted.anomaly === 1 ? "1 anomaly" : `${counted.anomaly} anomalies`;
  $("tally").textContent = `Marked: ${anomalies}, ${counted.normal} normal, ${counted.benign} benign`;
  $("undo").disabled = !state.undo.length;
  for (const id of ["export-csv", "export-jsonl"]) {
    if (state.marks.size) $(id).removeAttribute("aria-disabled");
    else $(id).setAttribute("aria-disabled", "true");
  }
  showCounts();
  for (const row of rows) {
    const old = lineOf(row);
    if (!old) continue;
    const hadFocus = document.activeElement === old;
    const fresh = line(state.byRow.get(row), old.tabIndex === 0);
    old.replaceWith(fresh);
    if (hadFocus) fresh.focus();
  }
  if (rows.includes(state.selected)) showPressed(state.selected);
}

async function poll() {
  if (document.hidden) return;
  try {
    await state.writing;
    const before = state.changes;
    const table = await ask("table");
    if (state.silent) problem("");
    if (table.opened !== state.table.opened) {
      problem("The service was started again since this page was opened. Load the page again.");
      return;
    }
    $("outdated").hidden = !table.outdated;
    const { marks } = await ask("marks");
    if (state.changes !== before) return; // the answer may be older than what was done since
    const fresh = new Map(Object.entries(marks).map(([row, entry]) => [Number(row), entry]));
    const rows = [...new Set([...fresh.keys(), ...state.marks.keys()])];
    const changed = rows.filter((row) => (fresh.get(row) || { version: 0 }).version !== markOf(row).version);
    for (const row of changed) take(row, fresh.get(row) || { mark: null, note: "" });
    if (changed.length) showMarks(changed);
  } catch (error) {
    report(error);
  }
}

// --- what people do -------------------------------------------------------------------------------------

const isTyping = (element) => Boolean(element) && element.matches("textarea, input[type=search], select");

function onKey(event) {
  if (event.key === "Escape") {
    if (isTyping(event.target)) event.target.blur();
    else if (state.selected !== null) close();
    return;
  }
  if (isTyping(event.target) || event.altKey || event.metaKey || (event.ctrlKey && event.key !== "z")) return;
  const mark = MARKS.find(([, , key]) => key === event.key);
  if (event.repeat && !event.key.startsWith("Arrow")) return; // held down: once is meant
  if (mark && state.selected !== null) toggle(state.selected, mark[0]);
  else if (event.key === "u" || (event.ctrlKey && event.key === "z")) undo();
  else if (event.key === "/") $("filter").focus();
  else if (["ArrowDown", "ArrowUp"].includes(event.key) && !event.target.matches("[type=range], [type=radio], .scroll, .scroll *")) {
    move(event.key === "ArrowDown" ? 1 : -1);
  } else if ((event.key === "Enter" || event.key === " ") && event.target.matches("#body tr")) {
    select(Number(event.target.dataset.row));
    $("detail").focus();
  } else return;
  event.preventDefault();
}

function move(step) {
  const all = visible();
  if (!all.length) return;
  const placeOf = (row) => all.findIndex((alert) => alert.row === row);
  const now = placeOf(state.selected);
  const wanted = now < 0 ? placeOf(besideGone(step, placeOf)) : Math.max(0, now + step);
  const place = Math.min(all.length - 1, wanted < 0 ? state.page * PER_PAGE : wanted);
  const page = Math.floor(place / PER_PAGE);
  if (page !== state.page || !lineOf(all[place].row)) {
    state.page = page;
    showTable();
  }
  select(all[place].row, { focus: true });
}

/** The drawn row next to the chosen one, which a mark has just taken out of what is shown. */
function besideGone(step, placeOf) {
  const drawn = [...$("body").children].map((each) => Number(each.dataset.row));
  const place = drawn.indexOf(state.selected);
  if (place < 0) return undefined;
  const rest = step > 0 ? drawn.slice(place + 1) : drawn.slice(0, place).reverse();
  return rest.find((row) => placeOf(row) >= 0);
}

let searching = 0;
let asked = 0;
async function find() {
  const text = $("filter").value.trim();
  const mine = (asked += 1);
  state.page = 0;
  let found = null;
  if (text) {
    try {
      found = new Set((await ask(`search?text=${encodeURIComponent(text)}`)).rows);
    } catch (error) {
      problem(error.message);
    }
  }
  if (mine !== asked) return; // an answer to an older question
  state.text = text;
  state.found = found;
  showTable();
}

function listen() {
  document.addEventListener("keydown", onKey);
  $("slider").addEventListener("input", () => {
    state.value = 10 ** Number($("slider").value);
    showThreshold();
    recolour();
  });
  $("slider").addEventListener("change", () => state.show !== "all" && showTable());
  for (const radio of document.querySelectorAll("[name=rule]")) {
    radio.addEventListener("change", () => {
      const { alarms } = counts();
      state.rule = radio.value;
      // the other rule begins where this one was
      const [low, high] = range();
      const same = radio.value === "budget" ? (1000 * alarms) / state.operating.rows : 0.01;
      state.value = Math.min(high, Math.max(low, same));
      showThreshold();
      showTable();
      recolour();
    });
  }
  $("show").addEventListener("change", () => {
    state.show = $("show").value;
    state.page = 0;
    showTable();
  });
  $("filter").addEventListener("input", () => {
    clearTimeout(searching);
    searching = setTimeout(find, 150);
  });
  for (const [id, step] of [["previous", -1], ["next", 1]]) {
    $(id).addEventListener("click", () => {
      state.page += step;
      showTable();
      $("alerts").scrollIntoView();
    });
  }
  $("undo").addEventListener("click", undo);
  for (const id of ["export-csv", "export-jsonl"]) {
    $(id).addEventListener("click", (event) => {
      if (!state.marks.size) {
        event.preventDefault();
        problem("Nothing is marked yet, so there is nothing to export.");
      }
    });
  }
  window.addEventListener("beforeunload", (event) => {
    const unsaved = [...state.drafts].some(([row, { value }]) => value.trim() !== markOf(row).note);
    if (unsaved) event.preventDefault();
  });
  window.addEventListener("focus", poll);
  setInterval(poll, POLL);
}

/** The rows of this page as alarms or not, without drawing them anew. */
function recolour() {
  for (const each of $("body").children) {
    each.classList.toggle("alarm", isAlarm(state.byRow.get(Number(each.dataset.row))));
  }
  const text = document.querySelector("#detail .mark");
  if (text) text.closest("p").replaceWith(verdict(state.byRow.get(state.selected)));
}

function begin() {
  const { table, operating } = state;
  document.title = `Triage of ${table.data}`;
  $("title").textContent = table.data.split(/[\\/]/).at(-1);
  const kept = table.kept < table.rows ? `, the strangest ${whole(table.kept)} of them here` : "";
  $("about").textContent =
    `${whole(table.rows)} rows${kept} · model ${table.model} (${table.digest.slice(0, 12)}) · marks are kept in ${table.feedback}`;
  $("outdated").hidden = !table.outdated;
  if (table.rule.rule === "fpr") state.value = table.rule.value;
  else if (table.rule.rule !== "fdr") {
    state.rule = "budget";
    document.querySelector("[name=rule][value=budget]").checked = true;
    state.value = table.rule.rule === "budget" ? table.rule.value : (1000 * table.rule.value) / operating.rows;
  } else state.value = Math.max(0.01, table.resolution);
}

async function load() {
  const [table, operating, marks] = await Promise.all([ask("table"), ask("operating"), ask("marks")]);
  Object.assign(state, { table, operating });
  state.marks = new Map(Object.entries(marks.marks).map(([row, entry]) => [Number(row), entry]));
  while (true) {
    const part = await ask(`alerts?offset=${state.alerts.length}`);
    state.alerts.push(...part.alerts);
    if (!part.alerts.length || state.alerts.length >= part.total) break;
  }
  state.alerts.forEach((alert, place) => (alert.place = place));
  state.byRow = new Map(state.alerts.map((alert) => [alert.row, alert]));
}

load()
  .then(() => {
    begin();
    listen();
    showThreshold();
    showDetail();
    showTable();
    showMarks([]);
    document.body.dataset.ready = "yes";
  })
  .catch((error) => {
    $("title").textContent = "Triage";
    problem(error.message);
  });
