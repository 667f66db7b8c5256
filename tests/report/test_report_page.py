"""The HTML page: complete, self-contained, and true to the figures. What a browser makes of it: test_report_browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fabricated import evaluation, write_run
from fabricated_evaluation import HOSTILE, document, write_evaluation

from rewardranker.errors import DataError
from rewardranker.report import parse_figures, write_report
from rewardranker.report.words import summary

VOID = {"meta", "link", "br", "hr", "img", "input"}


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


def markup(page: str) -> str:
    """The page without what its scripts hold."""
    return re.sub(r"(<script[^>]*>).*?</script>", r"\1</script>", page, flags=re.DOTALL)


def packed(page: str, name: str = "index") -> dict[str, object]:
    found = re.search(rf'id="data-{name}">([^<]*)<', page)
    assert found is not None
    data: dict[str, object] = json.loads(gzip.decompress(base64.b64decode(found[1])))
    return data


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("run"))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(run_dir: Path) -> str:
    return (run_dir / "report.html").read_text()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_evaluation(tmp_path_factory.mktemp("evaluated"))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def evaluation_page(evaluated: Path) -> str:
    return (evaluated / "report.html").read_text()


@pytest.mark.parametrize("name", ["page", "evaluation_page"])
def test_loads_nothing_from_outside(name: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(name)
    links = Links()
    links.feed(page)
    assert links.open == []
    assert len(links.loaded) > 8
    assert [link for link in links.loaded if not link.startswith(("#", "data:,"))] == []
    assert re.findall(r"url\((?!#)[^)]*\)|@import", markup(page)) == []


@pytest.mark.parametrize("name", ["page", "evaluation_page"])
def test_only_its_own_scripts_may_run(name: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(name)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    allowed = set(re.findall(r"sha256-[^&]*(?=&#39;)", policy[1]))
    scripts = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    hashes = {"sha256-" + base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts}
    assert hashes == allowed
    assert "unsafe-eval" not in policy[1]
    assert "script-src &#39;sha256" in policy[1]


@pytest.mark.parametrize("name", ["page", "evaluation_page"])
def test_links_inside_the_page_have_their_targets_once(name: str, request: pytest.FixtureRequest) -> None:
    links = Links()
    links.feed(request.getfixturevalue(name))
    assert len(links.ids) == len(set(links.ids))
    assert {link[1:] for link in links.loaded if link.startswith("#")} <= set(links.ids)


def test_plots_have_no_colour_of_their_own(page: str, evaluation_page: str) -> None:
    for text, count in ((page, 13), (evaluation_page, 10)):
        drawings = re.findall(r"<figure>.*?</figure>", text, re.DOTALL)
        assert len(drawings) == count
        assert re.findall(r"#[0-9a-f]{6}\b", "".join(drawings)) == []


def test_greedy_decoding_is_a_level_line_in_the_curves_of_a_run(page: str) -> None:
    drawing = page.split('aria-label="SFT generator"')[1].split("</svg>")[0]
    (path,) = re.findall(r'id="best-of-n-sft-series-1">\s*<path d="M ([^"]*)"', drawing)
    start, end = (point.split() for point in path.split("L"))
    assert float(start[0]) < float(end[0])
    assert start[1] == end[1]


def test_hostile_texts_are_never_markup(evaluation_page: str) -> None:
    assert HOSTILE not in evaluation_page
    assert "owned" not in markup(evaluation_page)
    assert "tiny-&lt;code&gt;-135M" in evaluation_page
    source = json.dumps(packed(evaluation_page, "source-0"))
    assert json.dumps(HOSTILE)[1:-1] in source


def test_the_main_ranker_is_that_of_the_last_round_not_of_the_last_word(run_dir: Path, tmp_path: Path) -> None:
    document = evaluation()
    for population in document["populations"]:
        reward = next(ranker for ranker in population["rankers"] if ranker["key"] == "reward-2")
        population["rankers"] += [reward | {"key": f"reward-{k}", "title": f"R{k}"} for k in (9, 10)]
    for example in document["examples"]:
        example["scores"] |= {"reward-9": 0.0, "reward-10": 1.0}
    (tmp_path / "evaluation.json").write_text(json.dumps(document))
    index = packed(write_report(tmp_path).read_text())
    rankers, main = index["rankers"], index["main"]
    assert isinstance(rankers, list)
    assert isinstance(main, int)
    assert rankers[main]["title"] == "R10"


def test_significant_and_other_differences_are_told_apart(page: str) -> None:
    head, tail = page.split("Can't be told from chance", 1)
    assert "reranker 2 - chance" in head
    assert "reranker 2 - reranker 1" not in head
    assert "reranker 2 - reranker 1" in tail.split("</ul>")[0]


def test_kl_is_that_of_the_kept_weights(page: str) -> None:
    rows = re.findall(r'<th scope="row">policy, round \d.*?</tr>', page.split('id="generators"')[1], re.DOTALL)
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


def test_a_run_tells_the_calibration_of_each_generator_s_samples(page: str) -> None:
    """And leaves out the columns that a run has no figures for."""
    section = page.split('id="scores"')[1].split("</section>")[0]
    assert re.findall(r"<figcaption>([^<]*)", section) == ["SFT generator", "policy, round 1", "policy, round 2"]
    assert section.count(">reranker, round 2</button>") == 1
    heads = re.findall(r'<th scope="col">([^<]*)', section)
    assert heads == ["ranker", "samples of", "pairs in order, %", "calibration error", "Brier"]


def test_an_evaluation_has_a_column_for_each_n_and_each_language(evaluation_page: str) -> None:
    results, by_language = (
        re.findall(r'<th scope="col">([^<]*)', evaluation_page.split(f'id="{name}"')[1].split("</thead>")[0])
        for name in ("results", "by-1")
    )
    assert results == ["choice by", "n = 1", "n = 2", "n = 4", "n = 8"]
    assert by_language == ["choice by", "python", "cpp", "js", "rs", "average"]


def test_an_evaluation_s_reward_model_stands_beside_the_best_choice_without_one(evaluation_page: str) -> None:
    assert "reward:runs/x solves 47.4 %; the best choice without a reward model" in evaluation_page
    assert "is codet with 45.4 %: +1.9 points" in evaluation_page


def test_an_evaluation_without_optional_figures_has_a_page(tmp_path: Path) -> None:
    shown = document(8, 4)
    least = {key: shown[key] for key in ("schema", "tasks", "n", "rows")}
    (tmp_path / "evaluation.json").write_text(json.dumps(least))
    text = write_report(tmp_path).read_text()
    assert "tasks.jsonl, samples.jsonl, verdicts.jsonl not found" in text
    assert 'id="scores"' not in text


def test_a_run_with_the_least_figures_has_a_page(tmp_path: Path) -> None:
    ranker = {"key": "mean", "title": "chance", "mean": 0.5, "low": 0.4, "high": 0.6}
    document = {"name": "a", "tasks": 5, "n": 2, "populations": [{"key": "sft", "title": "SFT", "rankers": [ranker]}]}
    (tmp_path / "evaluation.json").write_text(json.dumps(document))
    assert "<svg" not in markup(write_report(tmp_path, tmp_path / "page.html").read_text())


def test_a_run_that_is_not_measured_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not measured yet"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"accuracy": 1}, "neither the figures of a run .* keys accuracy"),
        ({"schema": "rewardranker.evaluation/9", "tasks": 1}, "schema 'rewardranker.evaluation/9' is not known"),
        ({"schema": "rewardranker.evaluation/1", "tasks": 1, "n": 1, "rows": []}, "nothing was measured"),
        ({"schema": "rewardranker.evaluation/1", "tasks": 1, "n": 1}, "column 'rows' is missing"),
    ],
)
def test_another_document_is_refused_by_name(content: dict[str, object], problem: str, tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=problem):
        write_report(tmp_path)


def test_same_figures_same_page(
    run_dir: Path, page: str, evaluated: Path, evaluation_page: str, tmp_path: Path
) -> None:
    assert write_report(run_dir, tmp_path / "again.html").read_text() == page
    assert write_report(evaluated, tmp_path / "again.html").read_text() == evaluation_page


def test_plots_are_files_for_papers(evaluated: Path, tmp_path: Path) -> None:
    write_report(evaluated, tmp_path / "page.html", tmp_path / "plots")
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert len(names) == 20
    assert {"best-of-n-samples.svg", "best-of-n-samples.png", "cost-programs.svg"} <= set(names)
    drawing = (tmp_path / "plots" / "best-of-n-samples.svg").read_text()
    assert "reward:runs/x" in drawing
    assert "#000101" not in drawing
    assert (tmp_path / "plots" / "best-of-n-samples.png").read_bytes().startswith(b"\x89PNG")
