"""The page at `/` in headless Chromium: real clicks and keys, real answers of a server, hostile candidates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from chromium import BROWSER, Chromium
from fake_openai import FakeOpenAI
from serving_world import QUICK, CountedRanker, Running, running

from rewardranker.config import JudgeOptions
from rewardranker.serving.page import files
from rewardranker.serving.server import Parts

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")
HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>\u202e'
ANSWERS = (
    "```python\ndef f():\n    return 3\n```",
    "```python\ndef f():\n    return 9\n```",
    "```python\ndef f():\n    return 3\n```",
    f"```python\ndef f():\n    # {HOSTILE}\n    return 1\n```",
    f"I would rather not. {HOSTILE}",
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(lambda prompt, seed, index: [ANSWERS[index % len(ANSWERS)]]) as fake:
        yield fake


@pytest.fixture(scope="module")
def server(upstream: FakeOpenAI) -> Iterator[Running]:
    parts = Parts(reranker=CountedRanker(), upstream=upstream.url, judge=JudgeOptions(timeout=2), judge_workers=1)
    with running(parts) as under_way:
        yield under_way


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser: Chromium, server: Running) -> Iterator[Chromium]:
    """The page, open on a wide screen; afterwards it must have logged nothing and asked no other server."""
    browser.open(f"{server.url}/")
    yield browser
    assert browser.problems == []
    assert all(url.startswith(f"{server.url}/") for url in browser.requests)


def ask(page: Chromium, task: str = "def f():", candidates: int = 5) -> None:
    page.click("#task")
    page.type(task)
    page.click("#candidates")
    page.type(str(candidates))
    page.click("#go")
    page.wait("document.getElementById('stop').hidden && !document.getElementById('go').disabled")


def cards(page: Chromium, part: str) -> list[str]:
    """The text of a part of each card, in order; empty where a card lacks it."""
    script = f"[...document.querySelectorAll('.card')].map((card) => card.querySelector('{part}')?.innerText ?? '')"
    found: list[str] = page.run(script)
    return found


@needs_browser
def test_candidates_stand_side_by_side_the_best_first(page: Chromium) -> None:
    ask(page)
    assert cards(page, "h3") == ["Best", "Rank 2", "Rank 3", "Rank 4"]
    assert cards(page, ".score b") == ["9", "3", "1", ""]
    assert cards(page, ".times") == ["", "× 2", "", ""]
    assert page.run("document.querySelectorAll('.card.best').length") == 1
    assert page.run("new Set([...document.querySelectorAll('.card')].slice(0, 2).map((c) => c.offsetTop)).size") == 1
    assert page.run("document.querySelector('.card .hljs-keyword').textContent") == "def"
    assert "5 candidates, 4 are different" in page.run("document.getElementById('summary').textContent")


@needs_browser
def test_candidates_are_text_whatever_they_hold(page: Chromium) -> None:
    ask(page)
    assert page.run("window.hit") is None
    assert page.run("document.querySelectorAll('#cards img, #cards script').length") == 0
    shown = cards(page, ".source")[2:]
    assert all("<img src=x onerror" in text and "<U+202E>" in text for text in shown)


@needs_browser
def test_verdicts_of_tests_are_shown(page: Chromium) -> None:
    page.click("summary")
    page.click("#tests")
    page.type("assert f() == 3")
    ask(page)
    assert cards(page, ".verdict") == ["✓ passed", "✗ wrong answer", "✗ wrong answer", ""]
    assert cards(page, ".message")[1] != ""


@needs_browser
def test_the_keyboard_is_enough(page: Chromium) -> None:
    assert page.run("document.activeElement === document.body")
    page.key("Tab")
    assert page.run("document.activeElement.id") == "task"
    page.type("def f():")
    modifiers = {"type": "keyDown", "key": "Enter", "code": "Enter", "modifiers": 2, "windowsVirtualKeyCode": 13}
    page.call("Input.dispatchKeyEvent", **modifiers)
    page.wait("document.querySelectorAll('.card').length")
    assert page.run("document.activeElement.id") == "result"


@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_fits_every_screen_and_theme(browser: Chromium, server: Running, theme: str, width: int) -> None:
    browser.open(f"{server.url}/", width, theme=theme, touch=width < 500)
    ask(browser)
    assert browser.problems == []
    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    dark = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 25)"
    assert dark == (theme == "dark")


@needs_browser
def test_errors_are_told_and_the_form_stays_usable(browser: Chromium, server: Running) -> None:
    browser.open(f"{server.url}/")
    ask(browser, candidates=900)
    assert browser.run("document.getElementById('problem').textContent") == "at most 64 (best_of)"
    assert browser.run("!document.getElementById('go').disabled")
    assert cards(browser, "h3") == []


@needs_browser
def test_a_key_is_asked_for_and_sent(browser: Chromium, upstream: FakeOpenAI) -> None:
    parts = Parts(reranker=CountedRanker(), upstream=upstream.url)
    with running(parts, replace(QUICK, api_keys=("sesame",))) as guarded:
        browser.open(f"{guarded.url}/")
        browser.wait("document.getElementById('server').textContent.includes('valid key')")
        browser.click("summary")
        browser.click("#key")
        browser.type("sesame")
        ask(browser)
        assert cards(browser, "h3")[0] == "Best"


def test_every_file_has_the_policy_and_nothing_is_inline(server: Running) -> None:
    for path in files():
        answer = server.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    text = server.get("/").text
    assert "style=" not in text
    assert text.count("<script") == text.count('<script type="module" src="page/')


def test_every_language_of_the_judge_can_be_chosen(server: Running) -> None:
    text = server.get("/").text
    assert '<option value="python" data-grammar="python">Python</option>' in text
    assert '<option value="cpp" data-grammar="cpp">C++</option>' in text
    assert 'registerLanguage("cpp"' in server.get("/page/highlight.js").text
