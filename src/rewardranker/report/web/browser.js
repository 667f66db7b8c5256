// The browser of programs: filters, two sortable lists (programs; tasks), and the opened program.

const byId = (id) => document.getElementById(id);

class ProgramBrowser {
  constructor(data) {
    this.data = data;
    this.root = byId("programs-browser");
    this.view = "programs";
    this.order = { key: "mistakes", down: true };
    this.selected = -1;
    this.list = new VirtualList(byId("program-list"), (row, place) => this.draw(row, place));
    this.detail = new Detail(byId("program-detail"), data, { close: () => this.close(), task: (task) => this.only(task) });
    this.fillFilters();
    this.listen();
    this.apply();
  }

  fillFilters() {
    const { data } = this;
    const fill = (id, entries) => {
      byId(id).append(...entries.map(([value, title]) => h("option", { value }, title)));
      byId(id).closest("label").hidden = entries.length < 2;
    };
    fill("filter-ranker", data.rankers.map((ranker, number) => [number, ranker.title]));
    byId("filter-ranker").value = String(data.main);
    fill("filter-population", data.populations.map((population, number) => [number, population.title]));
    const languages = [...new Set(data.tasks.map((task) => task.language))].sort();
    fill("filter-language", languages.map((language) => [language, language]));
    const statuses = data.statuses.map((status, number) => [number, status]).filter(([, status]) => status !== "passed");
    byId("filter-verdict").append(...statuses.map(([value, title]) => h("option", { value }, `wrong: ${title}`)));
  }

  listen() {
    for (const id of ["filter-ranker", "filter-population", "filter-language", "filter-verdict", "once"]) byId(id).addEventListener("change", () => this.apply());
    byId("order").addEventListener("change", () => this.sortBy(byId("order").value));
    let waiting;
    byId("search").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.apply(), 80);
    });
    for (const input of this.root.querySelectorAll("input[name=view]")) input.addEventListener("change", () => this.show(input.value));
    const list = byId("program-list");
    list.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
      if (step && this.list.rows.length) {
        event.preventDefault();
        this.move(Math.min(this.list.rows.length - 1, Math.max(0, (this.place ?? -1) + step)));
      } else if (event.key === "Enter" && this.place != null) this.activate(this.place, true);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.selected >= 0) this.close();
    });
  }

  get ranker() {
    return Number(byId("filter-ranker").value) || 0;
  }

  show(view) {
    this.view = view;
    for (const input of this.root.querySelectorAll("input[name=view]")) input.checked = input.value === view;
    this.order = view === "tasks" ? { key: "rate", down: false } : { key: "mistakes", down: true };
    this.apply();
  }

  /** All programs of a task, best-ranked first. */
  only(task) {
    byId("search").value = this.data.tasks[task].id;
    for (const id of ["filter-verdict", "filter-language"]) byId(id).value = "";
    this.show("programs");
    this.sortBy("score");
    this.close();
  }

  sortBy(key) {
    const falling = ["score", "mistakes", "chosen"];
    this.order = { key, down: this.order.key === key && key !== "mistakes" ? !this.order.down : falling.includes(key) };
    this.apply();
  }

  async apply() {
    const turn = (this.turn = (this.turn || 0) + 1);
    const words = byId("search").value.trim().toLowerCase();
    const texts = words.startsWith("source:") ? await this.data.texts() : null;
    if (this.turn !== turn) return;
    const rows = this.view === "tasks" ? this.tasks(words) : this.programs(words, texts);
    this.place = null;
    byId("list").style.setProperty("--rows", rows.length);
    this.list.set(rows);
    this.columns();
    byId("found").textContent = this.view === "tasks"
      ? counted(rows.length, "task", "tasks")
      : `${rows.length.toLocaleString("en")} of ${counted(this.data.count, "program", "programs")}`;
    byId("nothing").hidden = rows.length > 0;
  }

  matches(words, texts) {
    const { data } = this, { programs } = data;
    if (!words) return () => true;
    if (texts) {
      const wanted = words.slice(7).trim();
      const hit = texts.map((text) => text.toLowerCase().includes(wanted));
      return (i) => hit[programs.text[i]];
    }
    const tasks = data.tasks.map((task) => `${task.id}\n${task.prompt}\n${task.difficulty}\n${task.source}`.toLowerCase().includes(words));
    const details = data.details.map((detail) => detail.toLowerCase().includes(words));
    return (i) => tasks[programs.task[i]] || details[programs.detail[i]] || details[programs.failing[i]];
  }

  programs(words, texts) {
    const { data } = this, { programs } = data, ranker = this.ranker;
    const population = byId("filter-population").value, language = byId("filter-language").value, verdict = byId("filter-verdict").value;
    const matches = this.matches(words, texts);
    const rows = [];
    for (let i = 0; i < data.count; i++) {
      if (population !== "" && programs.population[i] !== Number(population)) continue;
      if (language && data.tasks[programs.task[i]].language !== language) continue;
      if (verdict === "passed" ? !programs.passed[i] : verdict === "wrong" ? programs.passed[i] : verdict !== "" && (programs.passed[i] || programs.status[i] !== Number(verdict))) continue;
      if (matches(i)) rows.push(i);
    }
    const scores = data.scores[ranker] || [], { rank } = data.standing(ranker);
    const score = (i) => scores[i] ?? -Infinity;
    const byScore = (a, b) => score(b) - score(a) || a - b;
    const compare = {
      mistakes: (a, b) => programs.passed[a] - programs.passed[b] || byScore(a, b),
      score: (a, b) => -byScore(a, b),
      rank: (a, b) => (rank[a] || 1e9) - (rank[b] || 1e9) || byScore(a, b),
      verdict: (a, b) => programs.status[a] - programs.status[b] || byScore(a, b),
      task: (a, b) => programs.task[a] - programs.task[b] || byScore(a, b),
    }[this.order.key];
    rows.sort(compare);
    if (this.order.down && this.order.key !== "mistakes") rows.reverse();
    return byId("once").checked ? this.distinct(rows) : rows;
  }

  /** The first of the programs of a task that are the same text. */
  distinct(rows) {
    const { text, task } = this.data.programs, seen = new Set();
    return rows.filter((i) => {
      const key = text[i] * this.data.tasks.length + task[i];
      return !seen.has(key) && seen.add(key);
    });
  }

  tasks(words) {
    const { data } = this, population = byId("filter-population").value, language = byId("filter-language").value;
    const rows = data.taskRows(this.ranker, population === "" ? -1 : Number(population)).filter((row) => {
      const task = data.tasks[row.task];
      return (!language || task.language === language) && (!words || `${task.id}\n${task.prompt}`.toLowerCase().includes(words));
    });
    const value = { rate: (row) => row.correct / row.size, chosen: (row) => row.chosen, best: (row) => row.best, task: (row) => row.task }[this.order.key];
    const sign = this.order.down ? -1 : 1;
    const compare = (a, b) => (a === b || (Number.isNaN(a) && Number.isNaN(b)) ? 0 : a < b || Number.isNaN(b) ? -1 : 1);
    return rows.sort((a, b) => sign * compare(value(a), value(b)) || a.task - b.task || a.population - b.population);
  }

  columns() {
    const titles = this.view === "tasks"
      ? [["task", "task"], ["rate", "pass"], ["chosen", "first choice"], ["best", "first correct"]]
      : [["verdict", "verdict"], ["score", "score"], ["rank", "rank"], ["task", "task"]];
    byId("list-head").replaceChildren(...titles.map(([key, title]) => {
      const here = this.order.key === key;
      return h("div", { role: "columnheader", "aria-sort": here ? (this.order.down ? "descending" : "ascending") : "none", class: `c-${key}` },
        h("button", { type: "button", on: { click: () => this.sortBy(key) } }, title, h("span", { class: "arrow", "aria-hidden": "true" }, here ? (this.order.down ? " ↓" : " ↑") : "")));
    }));
    const select = byId("order");
    const orders = this.view === "tasks" ? titles : [["mistakes", "high-scored wrong first"], ...titles];
    select.replaceChildren(...orders.map(([key, title]) => h("option", { value: key }, title)));
    select.value = this.order.key;
    this.root.dataset.view = this.view;
    byId("list").setAttribute("aria-rowcount", this.list.rows.length + 1);
    byId("list").setAttribute("aria-label", this.view === "tasks" ? "Tasks" : "Programs");
  }

  draw(row, place) {
    const attributes = { class: "row", role: "row", "aria-rowindex": place + 2, on: { click: () => this.activate(place, true) } };
    const cells = this.view === "tasks" ? this.taskCells(row) : this.programCells(row);
    const element = h("div", attributes, cells.map(([name, ...content]) => h("div", { role: "gridcell", class: `c-${name}` }, content)));
    element.classList.toggle("selected", this.view === "tasks" ? place === this.place : row === this.selected);
    return element;
  }

  programCells(i) {
    const { data } = this, { programs } = data;
    const { rank, tied } = data.standing(this.ranker);
    const task = data.tasks[programs.task[i]];
    const passed = programs.passed[i];
    // Of a test its first line, of a traceback its last.
    const failing = data.details[programs.failing[i]].split("\n")[0] || data.details[programs.detail[i]].trim().split("\n").at(-1);
    const message = passed ? "" : failing.slice(0, 160);
    const title = data.populations.length > 1 ? data.populations[programs.population[i]].title : `sample ${programs.sample[i]}`;
    return [
      ["verdict", h("span", { class: passed ? "passed" : "failed" }, passed ? "✓ " : "✗ ", data.statuses[programs.status[i]])],
      ["score", show(data.score(this.ranker, i))],
      ["rank", rank[i] ? `${rank[i]}${tied[i] > 1 ? "=" : ""}` : "–", h("small", {}, `/${data.groupOf(i).length}`)],
      ["task", h("span", { class: "name" }, task.id), " ", h("small", {}, title), message ? h("code", {}, ...visible(message)) : ""],
    ];
  }

  taskCells(row) {
    const { data } = this, task = data.tasks[row.task];
    const bar = h("span", { class: "share", "aria-hidden": "true" }, h("span", {}));
    bar.firstChild.style.width = `${(100 * row.correct) / row.size}%`;
    const none = row.correct === 0;
    const right = row.chosen === 1, wrong = row.chosen === 0;
    const choice = Number.isNaN(row.chosen) ? "–" : right ? "✓ right" : wrong ? "✗ wrong" : `${Math.round(100 * row.chosen)} % right`;
    return [
      ["task", h("span", { class: "name" }, task.id), " ", h("small", {}, data.populations.length > 1 ? data.populations[row.population].title : task.language)],
      ["rate", bar, `${row.correct}/${row.size}`],
      ["chosen", h("span", { class: none ? "quiet" : right ? "passed" : wrong ? "failed" : "" }, none ? "none passes" : choice)],
      ["best", Number.isFinite(row.best) ? `rank ${row.best}` : "–"],
    ];
  }

  mark(place) {
    this.place = place;
    for (const [where, element] of this.list.drawn) element.classList.toggle("selected", where === place);
  }

  move(place) {
    this.mark(place);
    this.list.reveal(place);
    this.mark(place);
    if (this.view === "programs") this.open(this.list.rows[place], false);
  }

  activate(place, focus) {
    if (this.view === "tasks") this.only(this.list.rows[place].task);
    else {
      this.mark(place);
      this.open(this.list.rows[place], focus);
    }
  }

  async open(i, focus) {
    this.selected = i;
    this.root.classList.add("opened");
    await this.detail.open(i);
    const overlay = getComputedStyle(byId("program-detail")).position === "fixed";
    document.body.classList.toggle("overlaid", overlay);
    if (focus && overlay) byId("program-detail").querySelector(".close").focus();
  }

  close() {
    this.selected = -1;
    this.root.classList.remove("opened");
    document.body.classList.remove("overlaid");
    byId("program-detail").replaceChildren(h("p", { class: "empty quiet" }, "Choose a program to see its source, its standing under every ranker, and how it differs from one that passes."));
    for (const element of this.list.drawn.values()) element.classList.remove("selected");
    byId("program-list").focus({ preventScroll: true });
  }
}

const started = performance.now();
if (typeof DecompressionStream === "undefined") byId("loading").textContent = "This browser can't unpack the programs: it lacks DecompressionStream (browsers since 2023 have it).";
else {
  ProgramData.load().then((data) => {
    byId("loading").remove();
    byId("programs-browser").hidden = false;
    window.programBrowser = new ProgramBrowser(data);
    document.documentElement.dataset.ready = String(Math.round(performance.now() - started));
  }, (error) => {
    byId("loading").textContent = `The programs can't be unpacked: ${error.message}`;
  });
}
