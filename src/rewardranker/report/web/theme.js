// The switch of themes, and legends that bring out one line of the plots. Both work on pages without programs.

const themes = [...document.querySelectorAll("input[name=theme]")];
function setTheme(theme) {
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
  for (const input of themes) input.checked = input.value === theme;
}
// Browsers may refuse to keep anything for a page opened from disk; the switch works all the same.
let kept = "auto";
try { kept = localStorage.getItem("rewardranker-theme") || "auto"; } catch {}
setTheme(["auto", "light", "dark"].includes(kept) ? kept : "auto");
for (const input of themes) {
  input.addEventListener("change", () => {
    setTheme(input.value);
    try { localStorage.setItem("rewardranker-theme", input.value); } catch {}
  });
}

for (const legend of document.querySelectorAll(".legend[data-plots]")) {
  const plots = document.getElementById(legend.dataset.plots);
  const bringOut = (series) => {
    plots.classList.toggle("dimmed", series !== null);
    for (const part of plots.querySelectorAll("g[id*='series-']")) {
      part.classList.toggle("out", series !== null && part.id.endsWith(`series-${series}`));
    }
  };
  let fixed = null;
  for (const button of legend.querySelectorAll("button")) {
    const series = button.dataset.series;
    button.addEventListener("click", () => {
      fixed = fixed === series ? null : series;
      for (const other of legend.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other.dataset.series === fixed));
      bringOut(fixed);
    });
    button.addEventListener("pointerenter", () => bringOut(series));
    button.addEventListener("pointerleave", () => bringOut(fixed));
  }
}
