// Asks this server for candidates and shows them. Builds elements with `h` and sources with `sourceView` of the report.

const by = (id) => document.getElementById(id);
const form = by("ask");
let asking = null;

/** The request body for what is typed. */
function requestOf() {
  const number = (id) => (by(id).value === "" ? undefined : Number(by(id).value));
  const tests = by("tests").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const task = by("task").value;
  const body = by("form").value === "chat" ? { messages: [{ role: "user", content: task }] } : { prompt: task };
  return {
    ...body,
    ...(by("model").value && { model: by("model").value }),
    n: 1,
    best_of: number("candidates"),
    temperature: number("temperature"),
    max_tokens: number("tokens"),
    rewardranker: {
      language: by("language").value,
      return_candidates: true,
      adaptive: by("adaptive").checked,
      ...(by("entry").value.trim() && { entry_point: by("entry").value.trim() }),
      ...(tests.length && { tests }),
      ...(by("examples").checked && !tests.length && { verify: true }),
    },
  };
}

async function call(path, options = {}) {
  const key = by("key").value;
  const headers = { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) };
  const answer = await fetch(path, { ...options, headers });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = body.error || {};
    throw new Error((error.message || `the server answered ${answer.status}`) + (error.param ? ` (${error.param})` : ""));
  }
  return body;
}

async function ask() {
  const problem = by("problem");
  problem.replaceChildren();
  asking = new AbortController();
  busy(true);
  const started = performance.now();
  try {
    const path = by("form").value === "chat" ? "v1/chat/completions" : "v1/completions";
    const answer = await call(path, { method: "POST", body: JSON.stringify(requestOf()), signal: asking.signal });
    show_result(answer, (performance.now() - started) / 1000);
    by("status").textContent = "done";
  } catch (error) {
    by("status").textContent = error.name === "AbortError" ? "stopped" : "";
    if (error.name !== "AbortError") problem.append(h("p", {}, error.message));
  } finally {
    asking = null;
    busy(false);
  }
}

function busy(working) {
  by("go").disabled = working;
  by("stop").hidden = !working;
  if (working) by("status").textContent = "drawing and ranking …";
}

// --- the result ---------------------------------------------------------------------------------------------------

function show_result(answer, seconds) {
  const told = answer.rewardranker;
  const distinct = told.ranking.filter((one, place) => told.ranking.findIndex((other) => other.rank === one.rank) === place);
  const tokens = answer.usage && answer.usage.completion_tokens;
  by("summary").textContent = counted(told.candidates, "candidate", "candidates") + ", " + counted(told.distinct, "is different", "are different");
  by("counts").replaceChildren(
    [
      { reward: "ranked by the reward model", tests: "ranked by the tests alone", votes: "ranked by agreement", order: "in the order drawn" }[told.ranked_by],
      told.stopped_early && `stopped early, ${counted(told.asked_for, "was", "were")} allowed`,
      told.failed && counted(told.failed, "candidate failed", "candidates failed"),
      tokens && counted(tokens, "token written", "tokens written"),
      `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`,
      answer.model,
    ].filter(Boolean).join(" · "),
  );
  by("warnings").replaceChildren(...told.warnings.map((text) => h("li", {}, text)));
  const scores = distinct.map((one) => one.score).filter((score) => score !== null);
  const low = Math.min(...scores), high = Math.max(...scores);
  by("cards").replaceChildren(...distinct.map((one, place) => card(one, place === 0, low, high)));
  by("result").hidden = false;
  by("result").focus({ preventScroll: true });
  by("result").scrollIntoView({ block: "start" });
}

function card(one, best, low, high) {
  const grammar = by("language").selectedOptions[0].dataset.grammar;
  const source = one.kind === "code" ? one.code : one.text;
  const verdict = one.verdict;
  const meter = h("span", { class: "meter", "aria-hidden": "true" }, h("span"));
  meter.firstChild.style.width = `${high > low && one.score !== null ? Math.round((100 * (one.score - low)) / (high - low)) : 100}%`;
  const copy = h("button", { type: "button", class: "plain", "aria-label": `Copy candidate of rank ${one.rank}` }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Not allowed";
    }
  });
  return h("li", { class: best ? "card best" : "card" },
    h("div", { class: "top" },
      h("h3", {}, best ? "Best" : `Rank ${one.rank}`),
      one.equal > 1 ? h("span", { class: "times", title: "So many candidates are this program" }, `× ${one.equal}`) : null,
      verdict ? h("span", { class: verdict.passed ? "verdict passed" : "verdict failed" }, (verdict.passed ? "✓ " : "✗ ") + (verdict.passed ? "passed" : verdict.status)) : null,
      copy),
    h("p", { class: "score" }, one.score === null ? h("span", { class: "quiet" }, unscored(one)) : [h("span", {}, "score "), h("b", {}, show(one.score)), meter]),
    verdict && verdict.detail ? h("pre", { class: "message", tabindex: 0 }, ...visible(verdict.detail)) : null,
    sourceView(source || "(empty)", one.kind === "code" ? grammar : "plain"));
}

function unscored(one) {
  if (one.kind === "code") return one.verdict && !one.verdict.passed ? "not scored: it fails the tests, and others pass" : "could not be scored";
  return one.kind === "prose" ? "no code found" : "calls a tool";
}

// --- the form -----------------------------------------------------------------------------------------------------

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!asking) ask();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
by("stop").addEventListener("click", () => asking && asking.abort());
by("key").addEventListener("change", models);

/** Which models there are; quietly nothing where the server wants a key first. */
async function models() {
  try {
    const listed = (await call("v1/models")).data.filter((one) => one.id);
    const drawing = listed.slice(0, -1), reranker = listed.at(-1);
    by("model").replaceChildren(...drawing.map((one) => h("option", { value: one.id }, one.id)));
    by("model-field").hidden = drawing.length < 2;
    by("server").textContent = `Ranked by the reward model “${reranker.id}”` + (drawing.length === 1 ? `, drawn from “${drawing[0].id}”.` : ".");
  } catch (error) {
    by("server").textContent = error.message;
  }
}
models();
document.documentElement.dataset.ready = "yes";
