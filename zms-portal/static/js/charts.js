// Charts: <figure data-chart="URL"> is drawn from the numbers at that address and drawn again every tick while somebody looks at it.
// What is not known is a gap, marked with its reason, and never 0. The table below a chart says the same in words.

const EVERY = 10_000;
const PATIENCE = 15_000;
const COLOURS = ["#0f9d8f", "#e8833a", "#4f7fd9", "#b558c9", "#c9a227", "#d94f70", "#5aa469", "#7a6ff0", "#3aa6c9", "#a0785a"];

const dark = () => document.documentElement.dataset.bsTheme === "dark";
const scale = (value, base, names) => {
  let at = 0;
  while (Math.abs(value) >= base && at < names.length - 1) { value /= base; at += 1; }
  // Three digits say enough, and small numbers differ in their first.
  const short = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
  return `${short.toLocaleString(undefined, { maximumSignificantDigits: 6 })}${names[at]}`;
};
const thousands = (value) => scale(value, 1000, ["", " k", " M", " G"]);
const bytes = (value) => scale(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);
/** How values of a unit are written. */
const UNITS = {
  count: thousands,
  per_second: (value) => `${thousands(value)}/s`,
  bytes,
  bytes_per_second: (value) => `${bytes(value)}/s`,
  milliseconds: (value) => (value >= 1000 ? `${scale(value / 1000, 1e9, [""])} s` : `${scale(value, 1e9, [""])} ms`),
  seconds: (value) => `${scale(value, 1e9, [""])} s`,
  percent: (value) => `${scale(value, 1e9, [""])} %`,
  share: (value) => `${scale(value * 100, 1e9, [""])} %`,
};

function draw(figure, chart, data) {
  const write = UNITS[data.unit] ?? thousands;
  const text = dark() ? "#a9bdc1" : "#51626a";
  const line = dark() ? "rgba(203,225,229,.13)" : "rgba(15,23,42,.11)";
  const days = data.t.at(-1) - data.t[0] > 2 * 86_400_000;
  const time = (ms) => new Date(ms).toLocaleString([], { ...(days ? { month: "short", day: "numeric" } : {}), hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const gaps = data.gaps.map((gap) => [{ xAxis: gap.from_ms }, { xAxis: gap.to_ms }]);
  chart.setOption({
    animation: false,
    color: COLOURS,
    grid: { left: 8, right: 14, top: 12, bottom: 4, containLabel: true },
    // Text instead of HTML: pages allow no inline style.
    tooltip: {
      trigger: "axis", renderMode: "richText", confine: true, order: "valueDesc", transitionDuration: 0,
      formatter: (points) => {
        const at = points[0].axisValue;
        const gap = data.gaps.find((gap) => gap.from_ms <= at && at < gap.to_ms);
        const lines = points.filter((point) => point.value[1] !== null).map((point) => `${point.seriesName}  ${write(point.value[1])}`);
        return [new Date(at).toLocaleString([], { dateStyle: "short", timeStyle: "medium" }), ...lines, ...(gap ? [gap.why] : [])].join("\n");
      },
    },
    xAxis: {
      type: "time", min: data.t[0], max: data.t.at(-1), axisLine: { lineStyle: { color: line } }, axisTick: { show: false },
      axisLabel: { color: text, hideOverlap: true, formatter: (ms) => time(ms) }, splitLine: { show: false },
    },
    yAxis: {
      type: "value", min: 0, max: data.unit === "percent" ? 100 : undefined, axisLabel: { color: text, formatter: write }, splitNumber: 4,
      splitLine: { lineStyle: { color: line } },
    },
    series: data.series.map((series, n) => ({
      // A few points alone would be no line to see.
      type: "line", name: series.name, showSymbol: series.values.filter((value) => value !== null).length < 30, symbolSize: 4, symbol: "circle", connectNulls: false, sampling: "lttb",
      lineStyle: { width: 1.8 }, emphasis: { disabled: true }, areaStyle: data.series.length === 1 ? { opacity: .1 } : undefined,
      data: data.t.map((t, at) => [t, series.values[at]]),
      markArea: n === 0 && gaps.length > 0 ? {
        silent: true, itemStyle: { color: dark() ? "rgba(248,113,113,.10)" : "rgba(185,28,28,.07)" },
        label: { show: false }, data: gaps,
      } : undefined,
    })),
  }, { notMerge: true });
  legend(figure, data, write);
  figure.dataset.drawn = "yes";
}

/** The newest gap in words: from when to when, and why. */
function lastGap(data) {
  const gap = data.gaps.at(-1);
  if (!gap) return "";
  const time = (ms) => new Date(ms).toLocaleTimeString([], { hourCycle: "h23" });
  return `${time(gap.from_ms)} – ${time(gap.to_ms)}: ${gap.why}`;
}

/** Numbers in words, and what the colours mean. */
function legend(figure, data, write) {
  const [series, last, average, most, p95, unknown] = figure.dataset.words.split("|");
  const table = document.createElement("table");
  table.className = "table table-sm chart-legend";
  const head = table.createTHead().insertRow();
  for (const name of [series, last, average, most, p95]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  const body = table.createTBody();
  data.series.forEach((series, n) => {
    const known = series.values.filter((value) => value !== null);
    const sorted = [...known].sort((a, b) => a - b);
    const row = body.insertRow();
    const name = row.insertCell();
    const colour = document.createElement("span");
    colour.className = "chart-colour";
    colour.style.backgroundColor = COLOURS[n % COLOURS.length];
    name.append(colour, series.name);
    const say = (value) => { row.insertCell().textContent = value === undefined || value === null ? unknown : write(value); };
    say(series.values.at(-1));
    say(known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null);
    say(sorted.at(-1));
    say(sorted[Math.floor((sorted.length - 1) * .95)]);
  });
  figure.querySelector("table").replaceWith(table);
}

/** What hinders all charts of a page alike is said once, in their place. */
function together(section) {
  const problems = new Set([...section.querySelectorAll("[data-chart]")].map((figure) => figure.dataset.problem ?? ""));
  const [problem] = problems;
  const all = problems.size === 1 && problem !== "";
  section.classList.toggle("charts-away", all);
  section.querySelector(".charts-note").textContent = all ? problem : "";
}

function keep(figure) {
  const canvas = figure.querySelector(".chart-canvas");
  const note = figure.querySelector(".chart-note");
  const chart = globalThis.echarts.init(canvas, null, { renderer: "canvas" });
  let timer = 0;
  let last;
  const look = async () => {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        const answer = await fetch(figure.dataset.chart, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE) });
        if (answer.status === 401) { location.reload(); return; }
        const data = await answer.json();
        if (!answer.ok) throw new Error(data.detail || data.title);
        last = data;
        figure.classList.toggle("chart-empty", data.series.length === 0);
        draw(figure, chart, data);
        note.textContent = data.note ?? lastGap(data);
        note.classList.remove("chart-bad");
        delete figure.dataset.problem;
      } catch (error) {
        // What was drawn stays, and is marked as old.
        note.textContent = error instanceof Error && error.name === "Error" && error.message ? error.message : figure.dataset.away;
        note.classList.add("chart-bad");
        figure.classList.toggle("chart-empty", !last);
        if (!last) figure.dataset.problem = note.textContent;
      }
    }
    together(figure.closest(".charts"));
    timer = setTimeout(look, EVERY);
  };
  new ResizeObserver(() => chart.resize()).observe(canvas);
  new MutationObserver(() => { if (last) draw(figure, chart, last); }).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  look();
}

for (const figure of document.querySelectorAll("[data-chart]")) keep(figure);
