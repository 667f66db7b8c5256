"""What is built from the repository is complete, and the pinned versions fit what the package asks for."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
requirement = pytest.importorskip("packaging.requirements").Requirement


OWN_ENVIRONMENT = {"vllm"}
"""Extras whose packages want other versions of ours than the pinned ones, so they are not installed beside them."""


def requirements() -> list[str]:
    extras = [items for name, items in PROJECT["optional-dependencies"].items() if name not in OWN_ENVIRONMENT]
    return [
        *PROJECT["dependencies"],
        *(item for extra in extras for item in extra if not item.startswith("rewardranker[")),
    ]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("text", requirements())
def test_every_requirement_has_a_pin_that_meets_it(text: str) -> None:
    wanted = requirement(text)
    pins = {normal(name): version for name, version in PINS.items()}
    assert pins[normal(wanted.name)] in wanted.specifier


def test_torch_is_pinned_without_a_local_version_so_that_any_index_has_it() -> None:
    assert "+" not in PINS["torch"]


def test_recipes_of_the_repository_are_those_of_the_package() -> None:
    recipes = ROOT / "recipes"
    assert recipes.is_symlink()
    assert recipes.resolve() == ROOT / "src" / "rewardranker" / "recipes"


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.split("\n", 3)[1].strip() == "Apache License"
    assert "END OF TERMS AND CONDITIONS" in text
    assert "[yyyy]" in text.split("APPENDIX")[1]


def test_the_wheel_has_every_module_recipe_and_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = pytest.importorskip("setuptools.build_meta", reason="building a wheel needs setuptools 77 or newer")
    if int(pytest.importorskip("setuptools").__version__.split(".")[0]) < 77:
        pytest.skip("building a wheel needs setuptools 77 or newer")
    import shutil

    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    monkeypatch.chdir(copy)
    with zipfile.ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("rewardranker/")}
    source = copy / "src"
    expected = {
        str(path.relative_to(source))
        for path in (source / "rewardranker").rglob("*")
        if path.suffix in (".py", ".yaml", ".html", ".typed")
    }
    assert len(expected) > 50
    assert expected - packed == set()
