"""20,000 programs: how large and quick the page is. `pytest -m slow -s tests/report/test_report_large.py` says it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from chromium import BROWSER, Chromium
from fabricated_evaluation import write_evaluation

from rewardranker.report import write_report

MEASURE = """(async () => {
  const browser = window.programBrowser, list = document.getElementById('program-list'), found = {};
  const timed = async (name, work) => {
    const start = performance.now();
    await work();
    list.offsetHeight; // the layout counts
    found[name] = Math.round(performance.now() - start);
  };
  const search = (text) => { document.getElementById('search').value = text; return browser.apply(); };
  await timed('sort by score', () => browser.sortBy('score'));
  await timed('sort by rank', () => browser.sortBy('rank'));
  await timed('search tasks', () => search('demo/17'));
  await timed('search all sources, first time', () => search('source:total'));
  await timed('search all sources again', () => search('source:value'));
  document.getElementById('search').value = '';
  document.getElementById('filter-verdict').value = 'wrong';
  await timed('filter wrong ones', () => browser.apply());
  document.getElementById('filter-ranker').value = '1';
  await timed('another ranker', () => browser.apply());
  await timed('list of tasks', () => browser.show('tasks'));
  await timed('list of programs', () => browser.show('programs'));
  await timed('open a program', () => browser.open(15000, false));
  let last = performance.now();
  found['slowest frame while scrolling'] = 0;
  for (let i = 0; i < 120; i++) {
    list.scrollTop += 7000;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    found['slowest frame while scrolling'] = Math.max(found['slowest frame while scrolling'], Math.round(now - last));
    last = now;
  }
  found['rows in the page'] = list.querySelectorAll('.row').length;
  return found;
})()"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")
def test_twenty_thousand_programs_stay_smooth(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "large", 200, 100, padding=400)
    start = time.perf_counter()
    page = write_report(folder)
    written = time.perf_counter() - start
    browser = Chromium(tmp_path / "profile")
    try:
        browser.open(page)
        found = {"ready after navigation": round(browser.run("performance.now()"))}
        found |= browser.run(MEASURE)
        assert browser.problems == []
    finally:
        browser.close()
    sources = sum(len(json.loads(line)["program"]) for line in (folder / "samples.jsonl").open())
    print(f"\nsources {sources / 1e6:.1f} MB, page {page.stat().st_size / 1e6:.1f} MB, written in {written:.1f} s; ms:")
    print(json.dumps(found, indent=2))
    assert page.stat().st_size < 0.8 * sources  # of which a half is random and can't be packed
    assert found.pop("ready after navigation") < 5000
    assert found.pop("rows in the page") < 60
    assert {name: time for name, time in found.items() if time > 1000} == {}
