// Source with highlighting, and the difference of two sources. Uses the embedded highlight.js (hljs) and jsdiff (Diff).

/** A text whose signs that turn the direction of writing, which can make code look like other code, are spelled out. */
function visible(text) {
  return text.split(/([\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])/).map((part, k) =>
    k % 2 ? h("span", { class: "hidden-sign" }, `<U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`) : part);
}

const HIGHLIGHTED = 40000; // characters; a longer program is shown plain, as its colours would take too long
const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'" };

/** Pieces [class, text] of a source; highlight.js's markup is read as data and never given to the page. */
function pieces(source, grammar) {
  if (source.length > HIGHLIGHTED || !hljs.getLanguage(grammar)) return [["", source]];
  const marked = hljs.highlight(source, { language: grammar, ignoreIllegals: true }).value;
  const classes = [], found = [];
  for (const [, open, close, text] of marked.matchAll(/<span class="([^"]*)">|(<\/span>)|([^<]+)/g)) {
    if (open !== undefined) classes.push(open);
    else if (close) classes.pop();
    else found.push([classes.at(-1) || "", text.replace(/&(?:amp|lt|gt|quot|#x27);/g, (entity) => ENTITIES[entity])]);
  }
  return found;
}

const LINES = 3000; // shown of a source; more would make the page slow

function sourceView(source, grammar) {
  const lines = [[]];
  for (const [kind, text] of pieces(source.replace(/\n$/, ""), grammar)) {
    for (const [k, part] of text.split("\n").entries()) {
      if (k) lines.push([]);
      if (part) lines.at(-1).push(kind ? h("span", { class: kind }, ...visible(part)) : h("span", {}, ...visible(part)));
    }
  }
  const hidden = lines.length - LINES;
  if (hidden > 0) lines.splice(LINES, hidden, [`… ${counted(hidden, "more line", "more lines")}`]);
  return h("pre", { class: "source", tabindex: 0 }, lines.map((line, k) => h("div", { class: "line", "data-no": k + 1 }, ...line, line.length ? "" : "\u200b")));
}

/** Lines that two sources don't share, whichever has them: a cheap distance for finding the nearest. */
function distance(a, b) {
  const counts = new Map();
  for (const line of a.split("\n")) counts.set(line, (counts.get(line) || 0) + 1);
  let apart = 0;
  for (const line of b.split("\n")) {
    const left = counts.get(line) || 0;
    if (left) counts.set(line, left - 1);
    else apart++;
  }
  for (const left of counts.values()) apart += left;
  return apart;
}

const CONTEXT = 4;

/** `before` (the program) and `after` (the one it is compared with), line by line, changed words marked. */
function diffView(before, after) {
  const parts = Diff.diffLines(before.replace(/\n?$/, "\n"), after.replace(/\n?$/, "\n"), { timeout: 1000 });
  if (!parts) return h("p", { class: "quiet" }, "These two differ too much to be compared line by line.");
  if (parts.every((part) => !part.added && !part.removed)) return h("p", { class: "quiet" }, "The two are the same text.");
  const rows = [];
  parts.forEach((part, k) => {
    const lines = part.value.replace(/\n$/, "").split("\n");
    if (!part.added && !part.removed) {
      const head = k ? CONTEXT : 0, tail = k < parts.length - 1 ? CONTEXT : 0;
      const hidden = lines.length - head - tail;
      if (hidden < 2) rows.push(...lines.map((line) => diffLine("", " ", [line])));
      else {
        rows.push(...lines.slice(0, head).map((line) => diffLine("", " ", [line])));
        rows.push(h("div", { class: "line skip" }, counted(hidden, "equal line", "equal lines")));
        rows.push(...lines.slice(lines.length - tail).map((line) => diffLine("", " ", [line])));
      }
      return;
    }
    const partner = parts[part.removed ? k + 1 : k - 1];
    const others = partner && partner.added !== part.added && (partner.added || partner.removed) ? partner.value.replace(/\n$/, "").split("\n") : [];
    lines.forEach((line, place) => {
      const other = others[place];
      const content = other !== undefined && line.length < 400 && other.length < 400 ? changes(line, other) : [line];
      rows.push(diffLine(part.added ? "added" : "removed", part.added ? "+" : "−", content));
    });
  });
  return h("pre", { class: "source diff", tabindex: 0 }, rows);
}

/** A line with the words marked that `other` lacks; unmarked where the two have little in common. */
function changes(line, other) {
  const parts = Diff.diffWordsWithSpace(other, line).filter((part) => !part.removed);
  const common = parts.reduce((sum, part) => sum + (part.added ? 0 : part.value.trim().length), 0);
  if (common < 0.3 * line.trim().length) return [line];
  return parts.map((part) => (part.added ? h("mark", {}, ...visible(part.value)) : h("span", {}, ...visible(part.value))));
}

function diffLine(kind, sign, content) {
  content = content.flatMap((part) => (typeof part === "string" ? visible(part) : part));
  return h("div", { class: `line ${kind}`, "data-no": sign }, ...content, "\u200b");
}
