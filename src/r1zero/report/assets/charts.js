// The values of a chart where the reader points, or steps to with the arrow keys.
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const number = (v) => {
    const size = Math.abs(v);
    const text = size >= 1e6 ? `${Number((size / 1e6).toPrecision(3))} M`
      : size >= 1000 ? Math.round(size).toLocaleString("en-US")
        : size >= 100 ? size.toFixed(0) : String(Number(size.toPrecision(3)));
    return (v < 0 ? "\u2212" : "") + text;
  };
  const share = (v) => `${(100 * v).toFixed(1)} %`;

  const attach = (plot, chart) => {
    const svg = plot.querySelector("svg");
    const layer = svg.querySelector(".hover");
    const place = (axis, v) => axis[2] + (v - axis[0]) / (axis[1] - axis[0]) * (axis[3] - axis[2]);
    const tell = chart.percent ? share : number;
    const spots = chart.path
      ? chart.series.flatMap((s) => s.x.map((x, i) => ({ x, y: s.y[i], s, i })))
      : [...new Set(chart.series.flatMap((s) => s.x))].sort((a, b) => a - b).map((x) => ({ x }));
    let at = -1;
    let tip = null;
    const hide = () => { at = -1; layer.replaceChildren(); if (tip) { tip.remove(); tip = null; } };
    const rows = (spot) => chart.path
      ? [`${spot.s.label}, step ${spot.s.steps[spot.i]}`, `${number(spot.x)} tokens, reward ${number(spot.y)}`]
      : [`${chart.label} ${number(spot.x)}`, ...chart.series.map((s) => {
        const i = s.x.indexOf(spot.x);
        if (i < 0) return null;
        const band = s.low.length ? ` (${tell(s.low[i])} to ${tell(s.high[i])})` : "";
        return `${chart.series.length > 1 ? `${s.label}: ` : ""}${tell(s.y[i])}${band}`;
      }).filter(Boolean)];
    const show = (next) => {
      at = Math.max(0, Math.min(spots.length - 1, next));
      const spot = spots[at];
      const x = place(chart.x, spot.x);
      const rule = document.createElementNS(SVG, "line");
      const ends = chart.path
        ? { x1: chart.x[2], x2: x, y1: place(chart.y, spot.y), y2: place(chart.y, spot.y) }
        : { x1: x, x2: x, y1: chart.y[2], y2: chart.y[3] };
      Object.entries(ends).forEach(([name, value]) => rule.setAttribute(name, value));
      const dots = (chart.path ? [[spot.x, spot.y]] : chart.series.flatMap((s) => {
        const i = s.x.indexOf(spot.x);
        return i < 0 ? [] : [[spot.x, s.y[i]]];
      })).map(([cx, cy]) => {
        const dot = document.createElementNS(SVG, "circle");
        Object.entries({ cx: place(chart.x, cx), cy: place(chart.y, cy), r: 4 }).forEach(([name, value]) => dot.setAttribute(name, value));
        return dot;
      });
      layer.replaceChildren(rule, ...dots);
      if (!tip) {
        tip = document.createElement("div");
        tip.className = "tip";
        tip.setAttribute("role", "status");
        plot.append(tip);
      }
      tip.replaceChildren(...rows(spot).map((text, i) => {
        const line = document.createElement(i ? "div" : "b");
        line.textContent = text;
        return line;
      }));
      const wide = plot.clientWidth;
      const left = x / 360 * wide;
      tip.style.left = `${Math.max(0, Math.min(wide - tip.offsetWidth, left > wide / 2 ? left - tip.offsetWidth - 10 : left + 10))}px`;
    };
    const nearest = (event) => {
      const box = svg.getBoundingClientRect();
      const px = (event.clientX - box.left) / box.width * 360;
      const py = (event.clientY - box.top) / box.height * 220;
      let best = 0;
      let least = Infinity;
      spots.forEach((spot, i) => {
        const dx = place(chart.x, spot.x) - px;
        const d = chart.path ? dx * dx + (place(chart.y, spot.y) - py) ** 2 : Math.abs(dx);
        if (d < least) { least = d; best = i; }
      });
      return best;
    };
    plot.addEventListener("pointermove", (event) => show(nearest(event)));
    plot.addEventListener("pointerdown", (event) => show(nearest(event)));
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by) { event.preventDefault(); show(at < 0 ? (by > 0 ? 0 : spots.length - 1) : at + by); }
      if (event.key === "Escape") hide();
    });
  };

  document.querySelectorAll("[data-chart]").forEach((figure) => {
    const chart = data[figure.dataset.chart];
    if (chart) attach(figure.querySelector(".plot"), chart);
  });
})();
