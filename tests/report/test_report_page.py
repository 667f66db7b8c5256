"""The HTML page: complete, self-contained, and without errors in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fabricated import evaluation, write_run

from rewardranker.errors import DataError
from rewardranker.report import parse_figures, write_report
from rewardranker.report.words import summary

VOID = {"meta", "link", "br", "hr", "img", "input"}
BROWSER = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)


class Links(HTMLParser):
    """Collects what a browser would load, and checks that elements close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.loaded.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("run"))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(run_dir: Path) -> str:
    return (run_dir / "report.html").read_text()


def test_loads_nothing_from_outside(page: str) -> None:
    links = Links()
    links.feed(page)
    assert links.open == []
    assert len(links.loaded) > 10
    assert [link for link in links.loaded if not link.startswith(("#", "data:,"))] == []
    assert re.findall(r"url\((?!#)[^)]*\)|@import|<script", page) == []


def test_links_inside_the_page_have_their_targets_once(page: str) -> None:
    links = Links()
    links.feed(page)
    assert len(links.ids) == len(set(links.ids))
    assert {link[1:] for link in links.loaded if link.startswith("#")} <= set(links.ids)


def test_plots_have_no_colour_of_their_own(page: str) -> None:
    drawings = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    assert len(drawings) == 6
    assert re.findall(r"#[0-9a-f]{6}\b", "".join(drawings)) == []


def test_programs_are_escaped_and_the_highest_scored_wrong_one_is_first(page: str) -> None:
    assert "Sum of the &lt;even&gt; &amp; positive values" in page
    order = re.findall(r'<span class="status (\w+)">[^<]*</span>([-+.\d]+)', page)
    assert order == [("failed", "+3.50"), ("failed", "+1.25"), ("failed", "-0.50"), ("passed", "+4.00")]


def test_significant_and_other_differences_are_told_apart(page: str) -> None:
    head, tail = page.split("Can't be told from chance", 1)
    assert "reranker 2 - chance" in head
    assert "reranker 2 - reranker 1" not in head
    assert "reranker 2 - reranker 1" in tail.split("</ul>")[0]


def test_kl_is_that_of_the_kept_weights(page: str) -> None:
    rows = re.findall(r"<td>policy, round \d.*?</tr>", page.split('id="generators"')[1], re.DOTALL)
    assert ["<td>3.10</td>" in row for row in rows[:2]] == [True, True]


def test_summary_says_when_no_ranker_helps() -> None:
    document = evaluation()
    for ranker in document["populations"][1]["rankers"]:
        if ranker["key"] not in ("mean", "oracle"):
            ranker["mean"] = 0.4
    assert ["No ranker beats drawing at random" in s for s in summary(parse_figures(document))] == [0, 0, 1, 0]


def test_the_summary_is_of_the_system_that_was_declared_not_of_the_best(page: str) -> None:
    document = evaluation()
    for population in document["populations"]:
        shown = {ranker["key"]: ranker for ranker in population["rankers"]}
        shown["logprob"]["mean"] = 0.97
    whole, *each = summary(parse_figures(document))
    assert "named before it was measured (policy, round 2, the best of 8 by reranker 2 + log-probability)" in whole
    assert "solves 90.0 %" in whole
    assert "greedy programs solve 73.0 %" in whole
    for sentence, declared in zip(each, ("91.0", "82.0", "90.0"), strict=True):
        assert f"the best of 8 by reranker 2 + log-probability solves {declared} %" in sentence
        assert "Best here, picked after the fact on these tasks: mean log-probability, 97.0 %" in sentence
    assert whole.replace("'", "&#39;") in page


def test_the_last_round_is_the_highest_number_not_the_last_word() -> None:
    document = evaluation()
    for number in (9, 10):
        document["populations"].append(document["populations"][0] | {"key": f"policy-{number}", "title": f"P{number}"})
    assert "(P10, " in summary(parse_figures(document))[0]


def test_a_ranker_picked_after_the_fact_says_so_where_nothing_was_declared() -> None:
    document = evaluation()
    document["populations"] = document["populations"][:1]
    (sentence,) = summary(parse_figures(document))
    assert "picked after the fact" in sentence


def test_ablations_are_shown_where_they_are(run_dir: Path, page: str, tmp_path: Path) -> None:
    assert 'id="ablations"' not in page
    row = {"arm": "PPO, <KL> 0.2", "population": "policy", "figure": "greedy", "values": [0.2, 0.25, 0.45]}
    folder = shutil.copytree(run_dir, tmp_path / "run")
    (folder / "ablations.json").write_text(json.dumps({"seeds": 3, "rows": [row]}))
    text = write_report(folder).read_text()
    section = text.split('id="ablations"')[1].split("</table>")[0]
    assert re.findall(r"<td>(?:<b>)?([^<]*)", section) == [
        "PPO, &lt;KL&gt; 0.2",
        "policy",
        "greedy",
        "30.0",
        "20.0",
        "45.0",
    ]
    links = Links()
    links.feed(text)
    assert links.open == []
    assert "#ablations" in links.loaded


def test_a_run_with_the_least_figures_has_a_page(tmp_path: Path) -> None:
    ranker = {"key": "mean", "title": "chance", "mean": 0.5, "low": 0.4, "high": 0.6}
    document = {"name": "a", "tasks": 5, "n": 2, "populations": [{"key": "sft", "title": "SFT", "rankers": [ranker]}]}
    (tmp_path / "evaluation.json").write_text(json.dumps(document))
    assert "<svg" not in write_report(tmp_path, tmp_path / "page.html").read_text()


def test_a_run_that_is_not_measured_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not measured yet"):
        write_report(tmp_path)


def test_same_figures_same_page(run_dir: Path, page: str, tmp_path: Path) -> None:
    assert write_report(run_dir, tmp_path / "again.html").read_text() == page


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")
def test_opens_in_a_browser_without_errors_and_wide_parts_scroll_by_themselves(run_dir: Path, tmp_path: Path) -> None:
    assert BROWSER is not None
    probe = "<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth</script></body>"
    page = tmp_path / "page.html"
    page.write_text((run_dir / "report.html").read_text().replace("</body>", probe))
    browser = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    result = subprocess.run(
        [
            *browser,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--window-size=500,900",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert [line for line in result.stderr.splitlines() if ":CONSOLE" in line] == []
    found = re.search(r"<title>(\d+) of (\d+)</title>", result.stdout)
    assert found is not None
    assert int(found[1]) <= int(found[2])
