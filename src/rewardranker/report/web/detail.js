// One program opened: its verdict, its standing under every ranker, its source, and a difference to one that passes.

const COMPARED = 60; // programs looked at to find the nearest one

class Detail {
  constructor(element, data, callbacks) {
    this.element = element;
    this.data = data;
    this.callbacks = callbacks;
    this.tab = "source";
  }

  async open(i) {
    this.current = i;
    const { data } = this, { programs } = data;
    const task = data.tasks[programs.task[i]];
    const source = await data.source(i);
    if (this.current !== i) return;
    const content = h("div", { class: "content", id: "detail-content", role: "tabpanel" });
    const tabs = { source: "Source", diff: programs.passed[i] ? "Diff to a wrong one" : "Diff to a passing one", task: "Task" };
    const buttons = Object.entries(tabs).map(([key, title]) =>
      h("button", { type: "button", role: "tab", "data-tab": key, "aria-controls": "detail-content", on: { click: () => choose(key) } }, title));
    const choose = async (key) => {
      this.tab = key;
      for (const button of buttons) button.setAttribute("aria-selected", String(button.dataset.tab === key));
      const shown = key === "source" ? sourceView(source, task.grammar) : key === "task" ? this.taskView(task) : await this.comparison(i, source);
      if (this.current === i && this.tab === key) content.replaceChildren(shown);
    };
    this.element.replaceChildren(this.head(i, task), this.failure(i), this.standings(i), h("div", { class: "tabs", role: "tablist" }, buttons), content);
    await choose(this.tab);
    this.element.scrollTop = 0;
  }

  head(i, task) {
    const { programs, statuses, populations } = this.data;
    const passed = programs.passed[i];
    return h("header", {},
      h("div", { class: "where" },
        h("h3", {}, task.id),
        h("span", { class: "quiet" }, [populations[programs.population[i]].title, `sample ${programs.sample[i]}`, task.language, task.difficulty, task.source].filter(Boolean).join(" · "))),
      h("button", { type: "button", class: "plain", on: { click: () => this.callbacks.task(programs.task[i]) } }, "All of this task"),
      h("button", { type: "button", class: "close", "aria-label": "Close the program", on: { click: () => this.callbacks.close() } }, "✕"),
      h("p", { class: `verdict ${passed ? "passed" : "failed"}` }, `${passed ? "✓" : "✗"} ${statuses[programs.status[i]]}`,
        programs.tests[i] ? h("span", { class: "quiet" }, ` ${programs.held[i]} of ${counted(programs.tests[i], "test", "tests")} hold`) : ""));
  }

  failure(i) {
    const { programs, details } = this.data;
    const failing = details[programs.failing[i]], detail = details[programs.detail[i]];
    if (programs.passed[i] || (!failing && !detail)) return "";
    const blocks = [];
    if (failing) blocks.push(h("h4", {}, "First failing test"), h("pre", { class: "message", tabindex: 0 }, ...visible(failing)));
    if (detail && detail !== failing) blocks.push(h("h4", {}, "What the judge saw"), h("pre", { class: "message", tabindex: 0 }, ...visible(detail)));
    return h("div", { class: "failure" }, blocks);
  }

  standings(i) {
    const { data } = this, size = data.groupOf(i).length;
    const rows = data.rankers.map((ranker, number) => {
      const score = data.score(number, i);
      if (score == null) return null;
      const { rank, tied } = data.standing(number);
      const meter = h("span", { class: "meter", "aria-hidden": "true" }, h("span", {}));
      meter.firstChild.style.left = `${size > 1 ? (100 * (rank[i] - 1)) / (size - 1) : 0}%`;
      return h("tr", {}, h("th", { scope: "row" }, ranker.title), h("td", {}, show(score)),
        h("td", {}, `${rank[i]} of ${size}`, tied[i] > 1 ? h("small", {}, ` shared by ${tied[i]}`) : ""), h("td", { class: "wide" }, meter));
    }).filter(Boolean);
    if (!rows.length) return "";
    const table = h("table", { class: "standings" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "ranker"), h("th", { scope: "col" }, "score"), h("th", { scope: "col" }, "rank"), h("th", { scope: "col", class: "wide" }, h("div", {}, h("span", {}, "first"), h("span", {}, "last"))))), h("tbody", {}, rows));
    return h("div", { class: "scroll" }, table);
  }

  taskView(task) {
    return h("div", {}, sourceView(task.prompt, task.grammar));
  }

  /** Distinct programs of the same task with the other verdict, nearest first; the task's reference where none passes. */
  async others(i, source) {
    const { data } = this, { programs } = data;
    const seen = new Set(), found = [];
    for (let k = 0; k < data.count && found.length < COMPARED; k++) {
      if (programs.task[k] !== programs.task[i] || programs.passed[k] === programs.passed[i] || seen.has(programs.text[k])) continue;
      seen.add(programs.text[k]);
      const text = await data.source(k);
      found.push({ text, apart: distance(source, text), title: `${data.populations[programs.population[k]].title}, sample ${programs.sample[k]}` });
    }
    const reference = data.tasks[programs.task[i]].reference;
    if (!programs.passed[i] && reference >= 0) {
      const text = await data.text(reference);
      found.push({ text, apart: found.length ? Infinity : distance(source, text), title: "the reference solution" });
    }
    return found.sort((a, b) => a.apart - b.apart);
  }

  async comparison(i, source) {
    const passed = this.data.programs.passed[i];
    const others = await this.others(i, source);
    if (!others.length) {
      return h("p", { class: "quiet" }, passed ? "No program of this task is wrong." : "No program of this task passes, and it has no reference solution.");
    }
    const place = h("div", {});
    const draw = (number) => place.replaceChildren(diffView(source, others[number].text));
    const select = h("select", { "aria-label": "Compare with", on: { change: () => draw(select.value) } },
      others.map((other, number) => h("option", { value: number }, `${other.title}${Number.isFinite(other.apart) ? ` (${counted(other.apart, "line", "lines")} apart)` : ""}`)));
    draw(0);
    return h("div", {}, h("p", { class: "compared" }, h("span", { class: passed ? "passed" : "failed" }, "− this one "), h("span", { class: passed ? "failed" : "passed" }, "+ ", select)), place);
  }
}
