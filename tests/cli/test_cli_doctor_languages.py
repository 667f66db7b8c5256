"""`rewardranker doctor`: the languages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rewardranker.cli import doctor
from rewardranker.execution import languages
from rewardranker.execution.languages import Language, Toolchain, find


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The section where all languages but C++ and Lua are missing, and Lua lacks its library."""

    def toolchain(language: Language) -> Toolchain | None:
        versions = {"cpp": "g++ 12.2.0", "lua": "lua5.3 5.3.6"}
        if language.code not in versions:
            return None
        return Toolchain(language, versions[language.code], {}, {}, ())

    monkeypatch.setattr(languages, "toolchain", toolchain)
    monkeypatch.setattr(
        languages, "missing_program", lambda language: None if toolchain(language) else next(iter(language.programs))
    )
    return dict(doctor._languages())


def test_a_usable_language_is_shown_with_its_version(shown: dict[str, str]) -> None:
    assert shown["  C++"] == "yes   g++ 12.2.0"


def test_a_missing_language_is_shown_with_how_to_get_it(shown: dict[str, str]) -> None:
    assert shown["  Rust"] == f"no    rustc is missing: {find('rust').install}"


def test_a_language_without_its_test_library_is_shown_as_usable_in_part(shown: dict[str, str]) -> None:
    assert shown["  Lua"].startswith("part  lua5.3 5.3.6  programs whose tests need luaunit can't be judged: apt-get")


def test_all_languages_are_there_and_counted(shown: dict[str, str]) -> None:
    assert set(shown) == {"languages", *(f"  {row.title}" for row in languages.LANGUAGES)}
    assert shown["languages"] == f"2 of {len(languages.LANGUAGES)} can be judged here"


def test_names_fit_their_column() -> None:
    assert max(len(f"  {row.title}") for row in languages.LANGUAGES) <= 14
    assert replace(find("cpp")).title == "C++"
