// The browser of responses. Texts of a model are only ever put in as text, never as markup.
(() => {
  const filters = document.getElementById("filters");
  if (!filters) return;
  const data = JSON.parse(document.getElementById("response-data").textContent);
  const el = (id) => document.getElementById(id);
  const PAGE = 60;
  const SIGNS = { correct: "✓", incorrect: "✗", truncated: "…", ungraded: "?" };
  const OUTCOMES = { right: "right", wrong: "wrong", no_answer: "no answer", ungraded: "ungraded", timeout: "grading timed out" };
  const STOPS = { eos: "end of text", stop_string: "stop string", length: "token budget", context: "context" };
  const FIELDS = ["sample", "text", "kind", "outcome", "stop", "length", "reward", "advantage", "surprisal", "extracted",
    "rule", "answer", "words", "spark"];

  const all = [];
  data.runs.forEach((run, r) => run.steps.forEach(({ step, set, groups }) => groups.forEach((group) => {
    group.all = group.rows.map((row) => {
      const one = { run, r, step, set, group, index: all.length };
      FIELDS.forEach((field, i) => { one[field] = row[i]; });
      one.kind = data.classes[one.kind];
      all.push(one);
      return one;
    });
  })));

  // ---- small helpers
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => {
      if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
    });
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  };
  const digits = (v) => (v === null || v === undefined ? "–" : `${v < 0 ? "\u2212" : ""}${Number(Math.abs(v).toPrecision(3))}`);
  const signed = (v) => (v > 0 ? `+${digits(v)}` : digits(v));
  const tokens = (n) => `${(n ?? 0).toLocaleString("en-US")} token${n === 1 ? "" : "s"}`;
  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff]/g;
  // Characters that nobody sees, or that turn the text around, stand there by name.
  const visible = (text) => {
    const parts = [];
    let from = 0;
    for (const found of text.matchAll(HIDDEN)) {
      parts.push(text.slice(from, found.index));
      const code = `U+${found[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
      parts.push(make("span", { class: "ctl", title: "a character that does not show" }, code));
      from = found.index + 1;
    }
    return [...parts, text.slice(from)];
  };
  const hits = (text, query) => {
    if (!query) return [];
    const spans = [];
    const low = text.toLowerCase();
    if (low.length !== text.length) return spans;
    for (let at = low.indexOf(query); at >= 0 && spans.length < 500; at = low.indexOf(query, at + query.length)) {
      spans.push([at, at + query.length, "hit"]);
    }
    return spans;
  };
  const marked = (text, spans) => {
    const cuts = [...new Set([0, text.length, ...spans.flatMap(([a, b]) => [a, b])])].sort((a, b) => a - b);
    return cuts.slice(0, -1).flatMap((a, i) => {
      const b = cuts[i + 1];
      const names = spans.filter((span) => span[0] <= a && span[1] >= b).map((span) => span[2]);
      const inside = visible(text.slice(a, b));
      return names.length ? [make("mark", { class: names.join(" ") }, ...inside)] : inside;
    });
  };
  const verdict = (one) => make("span", { class: `verdict ${one.kind}` }, `${SIGNS[one.kind]} ${one.kind}`);
  const place = (one) => (one.set ? `${one.set} after step ${one.step}` : `step ${one.step}`);
  const excerpt = (one, size) => one.text.slice(0, size).replace(/\s+/g, " ");

  // ---- what is asked for
  const sets = [...new Set(all.map((one) => one.set))].sort();  // "" is training
  const query = { set: sets.includes("") ? "0" : "", run: "", step: "", kind: "", reflect: false, text: "", sort: "order" };
  let found = [];
  let shown = 0;
  let current = null;
  const haystack = (one) => {
    if (one.hay === undefined) {
      one.hay = [one.text, one.group.prompt, one.group.q, one.extracted ?? "", ...one.group.gold].join("\n").toLowerCase();
    }
    return one.hay;
  };
  const from = (one) => query.set === "" || one.set === sets[query.set];
  const fits = (one, but) => from(one)
    && (but === "run" || query.run === "" || one.r === Number(query.run))
    && (but === "step" || query.step === "" || one.step === Number(query.step))
    && (but === "kind" || query.kind === "" || one.kind === query.kind)
    && (but === "reflect" || !query.reflect || one.words.length > 0)
    && (query.text === "" || haystack(one).includes(query.text));
  const sorted = (list) => {
    const [field, way] = query.sort.split("-");
    if (field === "order") return list;
    const sign = way === "down" ? -1 : 1;
    return list.map((one, i) => [one, i]).sort(([a, i], [b, j]) => {
      const [x, y] = [a[field], b[field]];
      if (x === null || y === null) return (x === null) - (y === null) || i - j;
      return sign * (x - y) || i - j;
    }).map(([one]) => one);
  };

  // ---- the list
  const item = (one) => {
    const button = make("button", { type: "button", class: one.kind, "data-index": one.index },
      make("span", { class: "line" }, verdict(one), make("span", {}, tokens(one.length)),
        make("span", {}, `Â ${signed(one.advantage)}`)),
      make("span", { class: "line" }, make("span", {}, `${data.runs.length > 1 ? `${one.run.label}, ` : ""}${place(one)}`),
        one.words.length ? make("span", {}, `${one.words.length} reflecting`) : null),
      make("div", { class: "excerpt", dir: "auto" }, ...visible(excerpt(one, 90) || "(empty)")));
    return make("li", {}, button);
  };
  const more = () => {
    el("list").append(...found.slice(shown, shown + PAGE).map(item));
    shown = Math.min(found.length, shown + PAGE);
    el("more").hidden = shown >= found.length;
    el("more").textContent = `Show ${Math.min(PAGE, found.length - shown)} more of ${(found.length - shown).toLocaleString("en-US")}`;
    point();
  };
  const point = () => document.querySelectorAll("#list button").forEach((button) => {
    if (Number(button.dataset.index) === current?.index) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  const counts = () => {
    const tally = {};
    let reflecting = 0;
    all.forEach((one) => {
      if (fits(one, "kind")) tally[one.kind] = (tally[one.kind] ?? 0) + 1;
      if (fits(one, "reflect") && one.words.length) reflecting += 1;
    });
    document.querySelectorAll("#f-class button").forEach((button) => {
      const n = button.value ? tally[button.value] ?? 0 : Object.values(tally).reduce((a, b) => a + b, 0);
      button.querySelector(".count").textContent = n.toLocaleString("en-US");
      button.disabled = n === 0 && button.value !== query.kind;
      button.setAttribute("aria-pressed", String(button.value === query.kind));
    });
    el("n-reflect").textContent = reflecting.toLocaleString("en-US");
  };
  const search = () => {
    found = sorted(all.filter((one) => fits(one)));
    const of = all.filter(from).length;
    el("found").textContent = `${found.length.toLocaleString("en-US")} of ${of.toLocaleString("en-US")} response${of === 1 ? "" : "s"}`;
    el("list").replaceChildren();
    shown = 0;
    counts();
    if (!found.includes(current)) open(found[0] ?? null);
    else open(current);
    more();
  };

  // ---- the open response
  const fact = (name, value, wide) => make("div", { class: wide ? "wide-fact" : null }, make("dt", {}, name), make("dd", {}, ...[value].flat()));
  const spark = (one) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const levels = [...one.spark].map((c) => parseInt(c, 36));
    node.setAttribute("class", "spark");
    const top = Math.max(10, ...levels);
    node.setAttribute("viewBox", `0 0 ${Math.max(levels.length, 24)} ${top + 1}`);
    node.setAttribute("preserveAspectRatio", "none");
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", `Surprisal along the response, at most ${digits(Math.max(0, ...levels) / 5)} nats`);
    levels.forEach((level, i) => {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      Object.entries({ x: i + 0.08, width: 0.84, y: top - level, height: level + 1 }).forEach(([k, v]) => bar.setAttribute(k, v));
      node.append(bar);
    });
    return node;
  };
  const sibling = (one, longest) => {
    const bar = make("i");
    bar.style.width = `${100 * (one.length ?? 0) / longest}%`;
    return make("li", {}, make("button", { type: "button", class: one.kind, "data-index": one.index, "aria-current": one === current ? "true" : null },
      make("span", { class: "line" }, verdict(one), make("span", {}, tokens(one.length)), make("span", {}, `Â ${signed(one.advantage)}`)),
      make("div", { class: "meter" }, bar),
      make("div", { class: "excerpt", dir: "auto" }, ...visible(excerpt(one, 160) || "(empty)"))));
  };
  const groupOf = (one) => {
    const { group } = one;
    const right = group.all.filter((each) => each.outcome === "right").length;
    const longest = Math.max(1, ...group.all.map((each) => each.length ?? 0));
    return make("aside", { class: "group", "aria-label": "Its group" }, make("h4", {}, "Its group"),
      make("div", { class: "fine" }, `${group.all.length} response${group.all.length === 1 ? "" : "s"} to this question, ${right} with a right answer`),
      make("ol", {}, ...group.all.map((each) => sibling(each, longest))));
  };
  const facts = (one) => {
    const rule = one.rule ? data.rules[one.rule] ?? one.rule : "";
    const outcome = OUTCOMES[one.outcome] ?? one.outcome;
    const said = rule.startsWith(outcome) ? rule : [outcome, rule].filter(Boolean).join(": ");
    return make("dl", { class: "meta" },
      fact("Length", `${tokens(one.length)}, ended by ${STOPS[one.stop] ?? one.stop}`, true),
      fact("Reward", digits(one.reward)), fact("Advantage", signed(one.advantage)),
      fact("Surprisal", `${digits(one.surprisal)} nats a token`),
      fact("Extracted answer", one.extracted === null ? "(none)" : visible(one.extracted)),
      fact("Gold", one.group.gold.length ? visible(one.group.gold.join("  or  ")) : "(none)"),
      fact("Verdict", visible(said), true),
      ...one.group.extra.map(([name, text]) => fact(name, visible(text), true)));
  };
  const open = (one) => {
    current = one;
    const pane = el("open");
    if (!one) {
      pane.replaceChildren(make("p", { class: "fine" }, "No response fits these filters."));
      return;
    }
    const spans = one.words.map(([a, b]) => [a, b, "word"]);
    if (one.answer) spans.push([...one.answer, "answer"]);
    spans.push(...hits(one.text, query.text));
    const legend = make("div", { class: "label" }, make("span", {}, "Response"),
      one.answer ? make("span", {}, make("mark", { class: "answer" }, "extracted answer")) : null,
      one.words.length ? make("span", {}, make("mark", { class: "word" }, "self-reflection")) : null);
    const level = one.group.level === null || one.group.level === undefined ? "" : `, level ${one.group.level}`;
    const walk = (by, name) => {
      const button = make("button", { type: "button", "aria-label": `${name} response` }, by < 0 ? "← previous" : "next →");
      button.addEventListener("click", () => step(by));
      return button;
    };
    pane.replaceChildren(
      make("div", { class: "head" },
        make("h3", {}, verdict(one), ` ${one.run.label}, ${place(one)}, sample ${one.sample + 1} of ${one.group.all.length}`),
        make("span", { class: "steps" }, walk(-1, "Previous"), walk(1, "Next"))),
      make("div", { class: "pair" },
        make("div", {}, facts(one),
          make("div", { class: "label" }, make("span", {}, `Prompt: question ${one.group.q}${level}`)),
          make("pre", { class: "text prompt", dir: "auto" }, ...marked(one.group.prompt, hits(one.group.prompt, query.text))),
          legend, make("pre", { class: "text", dir: "auto", id: "text" }, ...marked(one.text, spans)),
          one.spark ? make("div", { class: "label" }, make("span", {}, `Surprisal along the response, up to ${digits(Math.max(...[...one.spark].map((c) => parseInt(c, 36))) / 5)} nats a token`)) : null,
          one.spark ? spark(one) : null),
        groupOf(one)));
    point();
  };
  const step = (by) => {
    const next = found[Math.max(0, Math.min(found.length - 1, found.indexOf(current) + by))];
    if (!next) return;
    while (shown <= found.indexOf(next)) more();
    open(next);
    document.querySelector(`#list button[data-index="${next.index}"]`)?.scrollIntoView({ block: "nearest" });
  };

  // ---- controls
  const option = (value, text) => make("option", { value }, text);
  el("f-set").append(...sets.map((set, i) => option(i, set ? `evaluation: ${set}` : "training")), option("", "everything"));
  el("f-set").value = query.set;
  el("f-set").closest("label").hidden = sets.length < 2;
  el("f-run").append(option("", "all runs"), ...data.runs.map((run, i) => option(i, run.label)));
  const steps = [...new Set(all.map((one) => one.step))].sort((a, b) => a - b);
  el("f-step").append(option("", "all steps"), ...steps.map((each) => option(each, each)));
  el("f-class").append(...["", ...data.classes].map((kind) => make("button", { type: "button", value: kind, "aria-pressed": "false" },
    kind ? `${SIGNS[kind]} ${kind} ` : "all ", make("span", { class: "count" }))));
  const changed = (id, field, read) => el(id).addEventListener("input", (event) => {
    query[field] = read(event.target);
    search();
  });
  changed("f-set", "set", (node) => node.value);
  changed("f-run", "run", (node) => node.value);
  changed("f-step", "step", (node) => node.value);
  changed("f-sort", "sort", (node) => node.value);
  changed("f-reflect", "reflect", (node) => node.checked);
  let waiting = 0;
  el("f-text").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { query.text = event.target.value.toLowerCase(); search(); }, 120);
  });
  filters.addEventListener("submit", (event) => event.preventDefault());
  el("f-class").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) { query.kind = button.value; search(); }
  });
  el("more").addEventListener("click", more);
  const pick = (event) => {
    const button = event.target.closest("button[data-index]");
    if (!button) return;
    open(all[Number(button.dataset.index)]);
    if (window.matchMedia("(max-width: 720px)").matches) el("open").scrollIntoView({ block: "start" });
  };
  el("list").addEventListener("click", pick);
  el("open").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-index]");
    if (!button) return;
    pick(event);
    el("open").querySelector(`.group button[data-index="${button.dataset.index}"]`)?.focus({ preventScroll: true });
  });
  el("list").addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    step(by);
    document.querySelector('#list button[aria-current="true"]')?.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select, textarea")) { event.preventDefault(); el("f-text").focus(); }
  });
  filters.hidden = false;
  el("browser").hidden = false;
  search();
})();
