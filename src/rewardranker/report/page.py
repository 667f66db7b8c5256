"""One self-contained HTML page of a run or an evaluation: no network, light and dark, readable on a phone.

Texts of programs, tasks and judges are hostile. They reach the page as text only: escaped by the template, or packed
as data and shown as text nodes. A content security policy stands behind that: it allows the page's own scripts by
their hashes, no other script, no request, and no markup made from text. Figures are readable without scripts.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

from rewardranker.report import plots, sections, words
from rewardranker.report.ablations import ablation_rows
from rewardranker.report.content import Content, read_content
from rewardranker.report.drawing import PlotGroup
from rewardranker.report.packing import Packed, grammar, pack
from rewardranker.runs import write_text

WEB = Path(__file__).parent / "web"
PROGRAM_SCRIPTS = ("elements.js", "data.js", "source.js", "detail.js", "browser.js")
SCORE_TITLES = {"logprob": "mean log-probability", "sft_logprob": "summed log-probability (SFT generator)"}


def write_report(path: str | Path, output: str | Path | None = None, plot_folder: str | Path | None = None) -> Path:
    """Write the page of a measured run or an evaluation.

    Args:
        path: the folder with `evaluation.json`, or that file; what else is shown stands in `report.content`.
        output: the page; None: `report.html` in the folder.
        plot_folder: also write every plot there as SVG and PNG; None: none.

    Returns:
        The page's path.

    Raises:
        DataError: nothing is measured, a file is broken, or records do not fit each other.
        RunDirectoryError: the page can't be written.
    """
    content = read_content(path)
    output = Path(output) if output is not None else content.folder / "report.html"
    groups = _plot_groups(content)
    write_text(output, render(content, groups))
    if plot_folder is not None:
        write_plots(groups.values(), Path(plot_folder))
    return output


def save_plots(path: str | Path, folder: str | Path) -> list[Path]:
    """Write the plots of a measured run or an evaluation without its page. Returns the files.

    Raises:
        DataError: as `write_report`.
    """
    return write_plots(_plot_groups(read_content(path)).values(), Path(folder))


def write_plots(groups: Iterable[PlotGroup], folder: Path) -> list[Path]:
    """Every plot as SVG and PNG, for papers. Returns the files."""
    return [path for group in groups for plot in group.plots for path in plot.save(folder, group.legend)]


def render(content: Content, groups: dict[str, PlotGroup]) -> str:
    """The page's HTML."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WEB),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": words.percent,
        "points": words.points,
        "p_value": words.p_value,
        "duration": words.duration,
    }
    evaluation = content.evaluation
    packed = _packed(content)
    scripts = [read_script("theme.js"), *(_program_scripts(content) if packed else [])]
    return environment.get_template("page.html").render(
        evaluation=evaluation,
        style=(WEB / "style.css").read_text(encoding="utf-8"),
        scripts=scripts,
        policy=policy(scripts),
        settings=words.settings_in_words(evaluation),
        headline=words.headline(evaluation),
        summary=words.summary(evaluation),
        groups=groups,
        results=sections.results(evaluation),
        breakdowns=sections.breakdowns(evaluation),
        order=sections.order(evaluation),
        generators=sections.generators(evaluation, content.trainings),
        paired_rankers=sections.paired_rankers(evaluation),
        difference_range=sections.difference_range(evaluation.differences),
        ablations=list(ablation_rows(content.ablations)) if content.ablations else [],
        seeds=content.ablations["seeds"] if content.ablations else 0,
        packed=packed,
        programs=content.programs,
        missing=content.missing,
        stages=sections.stages(evaluation, content.manifest),
        recipe=content.recipe,
        versions=content.manifest.get("versions", {}),
        started=content.manifest.get("started", ""),
    )


def read_script(name: str) -> str:
    """A script as the page embeds it.

    Raises:
        ValueError: it holds a text that would end its element early.
    """
    text = (WEB / name).read_text(encoding="utf-8")
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError(f"{name} can't be embedded: it holds '</script' or '<!--'")
    return f"\n{text.strip()}\n"


def policy(scripts: Iterable[str]) -> str:
    """The content security policy under which only these scripts run, and nothing is loaded or sent."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _plot_groups(content: Content) -> dict[str, PlotGroup]:
    kl = [row.kl for row in sections.generators(content.evaluation, content.trainings)]
    return plots.all_plots(content.evaluation, content.trainings, kl)


def _packed(content: Content) -> Packed | None:
    if content.programs is None or not content.programs.programs:
        return None
    evaluation = content.evaluation
    populations = {population.key: population.title for population in evaluation.populations}
    titles = {**evaluation.ranker_titles()}
    titles |= {key: title for key, title in SCORE_TITLES.items() if key not in titles}
    return pack(content.programs, populations, titles, _first_ranker(content))


def _first_ranker(content: Content) -> str:
    """The ranker that programs are sorted by at first: the main one, or the one that solves most of those scored."""
    scored = set(content.programs.rankers) if content.programs else set()
    main = content.evaluation.main_ranker
    rankers = [r for population in content.evaluation.populations for r in population.rankers if r.key in scored]
    return main if main in scored or not rankers else max(rankers, key=lambda ranker: ranker.mean).key


def _program_scripts(content: Content) -> list[str]:
    """Highlighter with the grammars that are needed, differences, and the browser of programs, each a module."""
    names = sorted({grammar(language) for language in content.programs.languages}) if content.programs else []
    known = {path.stem for path in (WEB / "vendor" / "highlight").glob("*.js")} - {"core"}
    grammars = [f"vendor/highlight/{name}.js" for name in names if name in known]
    highlighter = "".join(read_script(name) for name in ("vendor/highlight/core.js", *grammars))
    own = "".join(read_script(name) for name in PROGRAM_SCRIPTS)
    return [highlighter, read_script("vendor/diff/diff.js"), own]
