"""The page in headless Chromium, by real clicks and keys: no errors, no request, and the browser of programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import BROWSER, Chromium
from fabricated import write_run
from fabricated_evaluation import HOSTILE, write_evaluation

from rewardranker.report import write_report

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")
ROW = "#program-list .row"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {
        "run": write_report(write_run(folder / "run")),
        "evaluation": write_report(write_evaluation(folder / "evaluation", 24, 16)),
    }


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def opened(browser: Chromium, pages: dict[str, Path]) -> Iterator[Chromium]:
    """The page of the evaluation, on a wide screen; afterwards it must have logged nothing and asked for nothing."""
    browser.open(pages["evaluation"])
    yield browser
    assert browser.problems == []
    assert browser.requests == [pages["evaluation"].as_uri()]


def rows(browser: Chromium, column: str) -> list[str]:
    """Texts of a column of the rows in sight, from the top."""
    script = f"""[...document.querySelectorAll('{ROW}')]
      .sort((a, b) => parseFloat(a.style.top) - parseFloat(b.style.top))
      .map((row) => row.querySelector('.c-{column}').innerText)"""
    found: list[str] = browser.run(script)
    return found


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-")) for text in texts]


@pytest.mark.parametrize("name", ["run", "evaluation"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_opens_without_errors_requests_or_sideways_scrolling(
    browser: Chromium, pages: dict[str, Path], name: str, theme: str, width: int
) -> None:
    browser.open(pages[name], width, theme=theme, touch=width < 500)
    assert browser.problems == []
    assert browser.requests == [pages[name].as_uri()]
    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert rows(browser, "verdict") != []


def test_high_scored_wrong_programs_come_first(opened: Chromium) -> None:
    assert all(text.startswith("✗") for text in rows(opened, "verdict"))
    scores = numbers(rows(opened, "score"))
    assert scores == sorted(scores, reverse=True)


def test_sorts_by_a_column_and_turns_round(opened: Chromium) -> None:
    opened.click(".head .c-score button")
    falling = numbers(rows(opened, "score"))
    opened.click(".head .c-score button")
    rising = numbers(rows(opened, "score"))
    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(rising)
    assert falling[0] > rising[0]


def test_only_rows_in_sight_exist(opened: Chromium) -> None:
    assert len(rows(opened, "score")) < 40
    before = rows(opened, "score")
    opened.run("document.getElementById('program-list').scrollTop = 8000; new Promise((go) => setTimeout(go, 50))")
    assert len(rows(opened, "score")) < 40
    assert rows(opened, "score") != before


def test_searches_tasks_failing_tests_and_sources(opened: Chromium) -> None:
    def search(text: str) -> str:
        opened.run("document.getElementById('search').value = ''")
        opened.click("#search")
        opened.type(text)
        opened.run("new Promise((go) => setTimeout(go, 200))")
        found: str = opened.run("document.getElementById('found').textContent")
        return found

    assert search("demo/17") == "16 of 384 programs"
    assert search("solve([17, 1").startswith(("6", "7", "8", "9", "10", "11", "12"))
    assert search("source:document.title") == "24 of 384 programs"
    assert search("no such text") == "0 of 384 programs"
    assert opened.run("document.getElementById('nothing').hidden") is False


def test_filters_by_verdict_and_language(opened: Chromium) -> None:
    opened.select("#filter-verdict", "passed")
    assert set(rows(opened, "verdict")) == {"✓ passed"}
    opened.select("#filter-language", "rs")
    languages = opened.run(
        """(() => { const { data, list } = programBrowser;
          return [...new Set(list.rows.map((i) => data.tasks[data.programs.task[i]].language))]; })()"""
    )
    assert languages == ["rs"]
    opened.select("#filter-verdict", "")
    assert opened.run("document.getElementById('found').textContent") == "96 of 384 programs"


def test_equal_programs_can_be_shown_once(opened: Chromium) -> None:
    opened.click("#once")
    shown = int(opened.run("document.getElementById('found').textContent").split()[0])
    expected = opened.run(
        """(() => { const { task, text } = programBrowser.data.programs;
          return new Set(text.map((number, i) => `${task[i]} ${number}`)).size; })()"""
    )
    assert shown == expected < 384


def test_another_ranker_gives_other_scores_and_ranks(opened: Chromium) -> None:
    before = rows(opened, "score")
    opened.select("#filter-ranker", "0")
    assert rows(opened, "score") != before


def test_ranks_count_those_scored_higher_and_say_who_shares_them(opened: Chromium) -> None:
    wrong = opened.run(
        """(() => {
          const { data } = window.programBrowser;
          let wrong = 0;
          data.rankers.forEach((_, r) => {
            const { rank, tied } = data.standing(r);
            for (let i = 0; i < data.count; i++) {
              const { task } = data.programs;
              const peers = task.map((_, k) => k).filter((k) => task[k] === task[i]);
              const higher = peers.filter((k) => data.scores[r][k] > data.scores[r][i]).length;
              const equal = peers.filter((k) => data.scores[r][k] === data.scores[r][i]).length;
              wrong += rank[i] !== higher + 1 || tied[i] !== equal;
            }
          });
          return wrong;
        })()"""
    )
    assert wrong == 0


def test_opens_a_program_with_verdict_test_ranks_and_highlighted_source(opened: Chromium) -> None:
    opened.select("#filter-language", "python")
    opened.click(ROW)
    opened.wait("document.querySelector('#program-detail .source')")
    shown = opened.run("document.getElementById('program-detail').innerText")
    assert "First failing test" in shown
    assert "assert solve(" in shown
    assert " of 16" in shown
    assert opened.run("document.querySelectorAll('.standings tbody tr').length") == 6
    assert opened.run("document.querySelectorAll('.source .hljs-keyword').length") > 2


def test_keys_move_through_the_list(opened: Chromium) -> None:
    opened.run("document.getElementById('program-list').focus()")
    for _ in range(3):
        opened.key("ArrowDown")
    opened.wait("document.querySelector('#program-detail h3')")
    task = rows(opened, "task")[2].split()[0]
    opened.wait(f"document.querySelector('#program-detail h3').innerText === {json.dumps(task)}")
    opened.key("Escape")
    assert opened.run("document.querySelector('#program-detail h3')") is None


def test_shows_the_difference_to_the_nearest_passing_program(opened: Chromium) -> None:
    opened.click("#search")
    opened.type("demo/1")
    opened.run("new Promise((go) => setTimeout(go, 200))")
    opened.click(ROW)
    opened.wait("document.querySelector('[data-tab=diff]')")
    opened.click("[data-tab=diff]")
    opened.wait("document.querySelector('.diff')")
    assert opened.run("document.querySelectorAll('.diff .removed').length") > 0
    assert opened.run("document.querySelectorAll('.diff mark').length") > 0
    options = opened.run("[...document.querySelectorAll('.compared option')].map((option) => option.innerText)")
    apart = [int(found[1]) for option in options if (found := re.search(r"\((\d+) lines? apart", option))]
    assert len(apart) > 1
    assert apart == sorted(apart)


def test_a_task_no_program_solves_is_compared_with_its_reference(opened: Chromium) -> None:
    opened.click("#search")
    opened.type("demo/5")
    opened.run("new Promise((go) => setTimeout(go, 200))")
    opened.click(ROW)
    opened.wait("document.querySelector('[data-tab=diff]')")
    opened.click("[data-tab=diff]")
    opened.wait("document.querySelector('.compared')")
    assert "the reference solution" in opened.run("document.querySelector('.compared').innerText")


def test_tasks_are_listed_and_lead_to_their_programs(opened: Chromium) -> None:
    opened.click("input[value=tasks] + span")
    assert opened.run("document.getElementById('found').textContent") == "24 tasks"
    shares = [int(text.split("/")[0]) for text in rows(opened, "rate")]
    assert shares == sorted(shares)
    opened.click(".head .c-rate button")
    shares = [int(text.split("/")[0]) for text in rows(opened, "rate")]
    assert shares == sorted(shares, reverse=True)
    task = rows(opened, "task")[0].split()[0]
    opened.click(ROW)
    assert {text.split()[0] for text in rows(opened, "task")} == {task}
    scores = numbers(rows(opened, "score"))
    assert scores == sorted(scores, reverse=True)


def test_hostile_programs_are_shown_as_text(opened: Chromium) -> None:
    programs = "programBrowser.data.programs"
    place = opened.run(f"{programs}.sample.findIndex((s, i) => s === 1 && !{programs}.passed[i])")
    for tab in ("source", "diff", "task"):
        opened.run(f"programBrowser.open({place}, false)")
        opened.click(f"[data-tab={tab}]")
        opened.run("new Promise((go) => setTimeout(go, 50))")
        assert opened.run("document.title") == "tiny-<code>-135M: rewardranker"
        assert opened.run("document.querySelectorAll('#programs-browser img, #programs-browser script').length") == 0
    opened.click("[data-tab=source]")
    assert HOSTILE in opened.run("document.getElementById('program-detail').innerText")


def test_signs_that_turn_the_direction_of_writing_are_spelled_out(opened: Chromium) -> None:
    programs = "programBrowser.data.programs"
    opened.run(f"programBrowser.open({programs}.sample.findIndex((s, i) => s === 2 && !{programs}.passed[i]), false)")
    for tab in ("source", "diff"):
        opened.click(f"[data-tab={tab}]")
        opened.run("new Promise((go) => setTimeout(go, 50))")
        shown = opened.run("document.querySelector('#detail-content pre').textContent")
        assert "<U+202E>" in shown
        assert not any(sign in shown for sign in "\u202e\u2066\u2069")


def test_the_policy_stops_a_script_that_got_in(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.open(pages["evaluation"])
    inserted = "const s = document.createElement('script'); s.append('window.owned = 1'); document.body.append(s)"
    browser.run(f"(() => {{ {inserted} }})()")
    assert browser.run("window.owned") is None
    with pytest.raises(RuntimeError, match="TrustedHTML"):
        browser.run("document.body.innerHTML = '<b>x</b>'")
    assert browser.run("fetch('https://example.com/').then(() => 'sent', () => 'refused')") == "refused"


def test_the_theme_can_be_switched_and_stays(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.open(pages["evaluation"], theme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(ground)
    browser.click("input[value=dark] + span")
    dark = browser.run(ground)
    assert dark != light
    browser.open(pages["evaluation"], theme="light")
    assert browser.run(ground) == dark
    browser.click("input[value=auto] + span")
    assert browser.run(ground) == light
    browser.open(pages["evaluation"], theme="dark")
    assert browser.run(ground) == dark


def test_a_program_fills_a_phone_s_screen_and_closes(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.open(pages["evaluation"], 390, 844, touch=True)
    browser.click(ROW)
    browser.wait("document.querySelector('#program-detail .source')")
    box = browser.run("Object.values(document.getElementById('program-detail').getBoundingClientRect().toJSON())")[:4]
    assert box == [0, 0, 390, 844]
    browser.click("[data-tab=diff]")
    browser.wait("document.querySelector('.diff')")
    assert browser.run("document.getElementById('program-detail').scrollWidth") <= 390
    browser.click("#program-detail .close")
    assert browser.run("getComputedStyle(document.getElementById('program-detail')).display") == "none"


def test_a_name_in_the_legend_brings_out_its_line(opened: Chromium) -> None:
    button = "[data-plots=plots-best-of-n] li:last-child button"
    opened.click(button)
    dimmed = opened.run("document.querySelectorAll('#plots-best-of-n g[id*=series-]:not(.out)').length")
    out = opened.run("document.querySelectorAll('#plots-best-of-n g.out').length")
    assert out == 2
    assert dimmed == 12
    opened.click(button)
    assert opened.run(f"document.querySelector({json.dumps(button)}).getAttribute('aria-pressed')") == "false"


def contrast(first: list[float], second: list[float]) -> float:
    """WCAG 2's contrast ratio of two sRGB colours."""

    def luminance(color: list[float]) -> float:
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in color)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(browser: Chromium, pages: dict[str, Path], theme: str) -> None:
    browser.open(pages["evaluation"], theme=theme)
    browser.select("#filter-language", "python")
    browser.click(ROW)
    browser.wait("document.querySelector('[data-tab=diff]')")
    pairs = []
    for tab in ("source", "diff"):
        browser.click(f"[data-tab={tab}]")
        browser.run("new Promise((go) => setTimeout(go, 50))")
        pairs += browser.run(
            """(() => {
              const parse = (text) => text.match(/[\\d.]+/g).map(Number);
              const ground = (e) => {
                for (; e; e = e.parentElement) {
                  const color = parse(getComputedStyle(e).backgroundColor);
                  if (color.length < 4 || color[3] > 0) return color;
                }
              };
              const found = new Map();
              const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
              while (walker.nextNode()) {
                const e = walker.currentNode.parentElement;
                if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest('script, svg')) continue;
                const [a, b] = [parse(getComputedStyle(e).color), ground(e)];
                found.set(`${a}|${b}`, [a.slice(0, 3), b.slice(0, 3), walker.currentNode.data.trim().slice(0, 30)]);
              }
              return [...found.values()];
            })()"""
        )
    assert len(pairs) > 12
    assert [(text, round(contrast(a, b), 2)) for a, b, text in pairs if contrast(a, b) < 4.5] == []
