// Builds elements. Texts of programs only ever become text nodes, so nothing in them can become markup or script.

function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (key === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child != null && child !== ""));
  return element;
}

function show(value) {
  if (value == null) return "–";
  if (Math.abs(value) >= 1e307) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size >= 1e5 || (size > 0 && size < 1e-3) ? value.toExponential(2) : Number.isInteger(value) ? String(value) : value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3);
  return text.replace("-", "−");
}

const counted = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** A list of many rows of one height, of which only those in sight exist. */
class VirtualList {
  constructor(element, draw) {
    this.element = element;
    this.draw = draw;
    this.rows = [];
    this.drawn = new Map();
    this.space = h("div", { class: "space", role: "presentation" });
    element.append(this.space);
    element.addEventListener("scroll", () => this.refresh(), { passive: true });
    new ResizeObserver(() => this.reset()).observe(element);
  }

  get rowHeight() {
    return parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 44;
  }

  set(rows) {
    this.rows = rows;
    this.element.scrollTop = 0;
    this.reset();
  }

  reset() {
    this.height = this.rowHeight;
    this.space.style.height = `${this.rows.length * this.height}px`;
    this.drawn.clear();
    this.space.replaceChildren();
    this.refresh();
  }

  refresh() {
    const first = Math.max(0, Math.floor(this.element.scrollTop / this.height) - 8);
    const last = Math.min(this.rows.length, Math.ceil((this.element.scrollTop + this.element.clientHeight) / this.height) + 8);
    for (const [place, element] of this.drawn) {
      if (place < first || place >= last) {
        element.remove();
        this.drawn.delete(place);
      }
    }
    for (let place = first; place < last; place++) {
      if (this.drawn.has(place)) continue;
      const element = this.draw(this.rows[place], place);
      element.style.top = `${place * this.height}px`;
      this.drawn.set(place, element);
      this.space.append(element);
    }
  }

  reveal(place) {
    const top = place * this.height, view = this.element;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + this.height > view.scrollTop + view.clientHeight) view.scrollTop = top + this.height - view.clientHeight;
    this.refresh();
  }
}
