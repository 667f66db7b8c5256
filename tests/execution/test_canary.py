from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from rewardranker.execution.canary import Canary, NoCanary, changeable, make_canary
from rewardranker.execution.canary_assertions import find_assertions
from rewardranker.execution.canary_literals import Pool, changed
from rewardranker.execution.canary_scanner import LANGUAGES, scan
from rewardranker.execution.languages import find, install_hint, read_exit, toolchain

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "multipl-e"


def rows(language: str) -> list[dict[str, str]]:
    path = DATA / f"humaneval-{language}.jsonl"
    if not path.exists():
        pytest.skip(f"the reference data is missing: {path}")
    return [json.loads(line) for line in path.read_text().splitlines()]


def canary(language: str, tests: str, seed: int = 0) -> Canary:
    found = make_canary(language, tests, seed)
    assert isinstance(found, Canary), found
    return found


def values(language: str, tests: str) -> list[str]:
    """The expected values that are found."""
    found = find_assertions(language, tests)
    return [tests[assertion.value[0].start : assertion.value[-1].end] for assertion in found]


def changed_span(old: str, new: str) -> tuple[int, int]:
    """Where `old` differs from `new`: outside it both are the same, byte by byte."""
    start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    tail = 0
    while tail < min(len(old), len(new)) - start and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return start, len(old) - tail


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_row_of_humaneval_yields_a_canary_that_changes_one_expected_value_only(language: str) -> None:
    for row in rows(language):
        tests = row["tests"]
        found = canary(language, tests, seed=7)
        start, end = changed_span(tests, found.tests)
        spans = [(a.value[0].start, a.value[-1].end) for a in find_assertions(language, tests)]
        assert found.tests != tests, row["name"]
        assert sum(a <= start and end <= b for a, b in spans) == 1, (row["name"], found)
        assert found.tests.count("\n") == tests.count("\n"), row["name"]
        assert len(find_assertions(language, found.tests)) == len(spans), row["name"]
        assert tests.replace(found.before, found.after, 1) == found.tests or tests.count(found.before) > 1, row["name"]


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_assertion_of_a_row_is_found(language: str) -> None:
    calls = {"go": "actual: candidate(", "pl": "eq_deeply(", "rkt": "check-within ", "d": "assert(", "r": "all.equal("}
    calls |= {"php": "(candidate(", "sh": "[[ $(", "lua": "lu.assertEquals(", "jl": "@test(", "rs": "assert_eq!("}
    call = calls.get(language, {"js": "assert.d", "ts": "assert.d", "rb": "assert_equal("}.get(language, "ssert("))
    missed = {
        row["name"]: row["tests"].count(call) - len(find_assertions(language, row["tests"])) for row in rows(language)
    }
    if language == "d":  # `assert(result.isNull)` has no value to change.
        missed = {row["name"]: missed[row["name"]] - row["tests"].count(".isNull)") for row in rows(language)}
    assert {name: n for name, n in missed.items() if n} == {}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_equal_seeds_give_equal_canaries_and_other_seeds_reach_all_assertions(language: str) -> None:
    row = next(row for row in rows(language) if row["name"].startswith("HumanEval_60_"))
    tests = row["tests"]
    lines = {canary(language, tests, seed).line for seed in range(60)}
    assert canary(language, tests, 3) == canary(language, tests, 3)
    assert len(lines) == len(find_assertions(language, tests)) > 1


# One row a form: the test text, and the expected value in it.
FORMS = [
    ("cpp", "assert(candidate((3)) == (-4));", "(-4)"),
    ("cpp", "assert(candidate((3)) == (std::make_tuple(1.5f, true)));", "(std::make_tuple(1.5f, true))"),
    ("cpp", "assert(f(1) == 2 && g(3) == h(4));", "2"),
    ("cpp", "assert(f(1) == 2 /* two */);", "2"),
    ("cpp", "assert(2 == f(1)); // assert(f(1) == 3)", "2"),
    ("cpp", "assert(std::abs(f(1) - 2.5) < 1e-6);", "2.5"),
    ("cpp", "if (f(1) != 2) { abort(); }", "2"),
    ("cpp", "EXPECT_EQ(f(\"a,(b\"), 'c');", "'c'"),
    (
        "cs",
        "Debug.Assert(F(1).Equals((Tuple.Create((Nullable<long>)null, 1L))));",
        "(Tuple.Create((Nullable<long>)null, 1L))",
    ),
    (
        "cs",
        'Debug.Assert(F(1).SequenceEqual((new List<string>(new string[]{(string)"a"}))));',
        '(new List<string>(new string[]{(string)"a"}))',
    ),
    ("d", "auto result = f(1); assert(!result.isNull && result.get == 2L);", "2L"),
    ("d", 'assert(candidate("x") == tuple("a", true));', 'tuple("a", true)'),
    ("go", "tests := []test{ { actual: candidate(1, 2), expected: []int{3, 4} }, }", "[]int{3, 4}"),
    ("go", 'if got := f(1); got != "x" {\n t.Fatalf("got %v", got)\n}', '"x"'),
    ("java", "assert(f(1).equals((Optional.of(2l))));", "(Optional.of(2l))"),
    ("java", "assertEquals(2, f(1));", "2"),
    ("jl", '@test(candidate("a") == Dict("a" => 1))', 'Dict("a" => 1)'),
    ("js", 'assert.deepEqual(candidate("a", [1]),{"a": [true, undefined]});', '{"a": [true, undefined]}'),
    ("js", "if (f(/a(/) !== 3) throw new Error('no');", "3"),
    ("lua", "lu.assertEquals(candidate({1}), {['a'] = 'x'})", "{['a'] = 'x'}"),
    ("lua", "assert(f(1) == 2, 'message')", "2"),
    ("php", 'if (candidate("a") !== array("a" => 1)) { throw new Exception("no!"); }', 'array("a" => 1)'),
    ("pl", 'if(eq_deeply($candidate->([1]),[2, "x"])) { print "ok!" }else{ exit 1; }', '[2, "x"]'),
    ("r", "stopifnot(isTRUE(all.equal(candidate(c(1)), list('a' = 2))))", "list('a' = 2)"),
    ("rb", 'assert_equal({"a" => 1}, candidate.call(2))', '{"a" => 1}'),
    ("rkt", '(check-within (candidate (list 1)) #hash(("a" .  2)) 0.001)', '#hash(("a" .  2))'),
    ("rkt", "(check-equal? (f '(1)) '(#t #f))", "'(#t #f)"),
    ("rs", 'assert_eq!(f(1), Some(vec![String::from("a")]));', 'Some(vec![String::from("a")])'),
    ("rs", "fn f<'a>(x: &'a str) {} assert!(f(\"a\") == 'b');", "'b'"),
    ("scala", 'assert(f(1).equals((Map[String,Long]("a" -> 2l))));', '(Map[String,Long]("a" -> 2l))'),
    ("sh", 'set -e\n[[ $(candidate "a b") = "c" ]]', '"c"'),
    ("sh", '[ "$(f "a b")" = "c" ] || exit 1', '"c"'),
    ("swift", 'assert(f(n: 1) == .success(["a"]))', '.success(["a"])'),
    ("ts", "assert.deepEqual(candidate(`a`), 'b')", "'b'"),
]


@pytest.mark.parametrize(("language", "tests", "value"), FORMS)
def test_the_expected_value_of_an_assertion_is_found(language: str, tests: str, value: str) -> None:
    assert values(language, tests) == [value]


NO_ASSERTIONS = [
    ("cpp", "assert(f(1) == g(2));", "no literal on either side"),
    ("cpp", "assert(f(1) == 2 || f(1) == 3);", "either will do"),
    ("cpp", 'puts("assert(f(1) == 2)");', "inside a string"),
    ("cpp", "/* assert(f(1) == 2); */", "inside a comment"),
    ("cpp", "assert(std::abs(f(1) - 2) < 3);", "a tolerance wider than a change"),
    ("cpp", "if (f(1) != 2) { count++; }", "a difference that does not fail"),
    ("js", "assert(!deepEqual(f(1), 2))", "negated"),
    ("js", "if (f(1) !== 2) console.error('no');", "a difference that does not fail"),
    ("pl", "if(eq_deeply(f(1), 2)) { print 1 } else { print 2 }", "a difference that does not fail"),
    ("r", "print(identical(f(1), 2))", "a question"),
    ("cpp", "assert(1 == 1);", "nothing is asked of the program"),
    ("cpp", "assert(f(1) == 2 || false);", "either will do"),
    ("cpp", "EXPECT_NEAR(f(1), 2.0, 5);", "a tolerance wider than a change"),
    ("cpp", "if (strict && f(1) != 2) { abort(); }", "a difference that fails sometimes"),
    ("sh", 'set -e\n[[ $(f 1) = "2" ]] && echo same', "a difference that does not fail"),
    ("sh", 'set -e\nif [ "$(f 1)" = "2" ]; then echo same; fi', "a condition"),
    ("php", "if (f(1) !== 2 && $strict) { throw new Exception(); }", "a difference that fails sometimes"),
    ("sh", '[[ $(f 1) = "2" ]] && echo same', "a difference that does not fail"),
    ("sh", 'set -e\nif [[ $(f 1) = "2" ]]; then echo same; fi', "a condition"),
    ("sh", 'set -e\n[[ $(f 1) = "$2" ]]', "a variable"),
    ("rs", "assert!(matches!(f(1), 2..=3));", "a pattern"),
]


@pytest.mark.parametrize(("language", "tests", "why"), NO_ASSERTIONS)
def test_a_value_whose_change_need_not_fail_is_left_alone(language: str, tests: str, why: str) -> None:
    assert values(language, tests) == [], why


def changes(language: str, value: str, others: str = "") -> set[str]:
    """What the one expected value of a test text becomes with many seeds."""
    tests = f"assert_equal({value}, call(x))" if language == "rb" else f"assert(call(x) == {value});"
    if language == "pl":
        tests = f"if(eq_deeply(call(x), {value})) {{}} else {{ exit 1 }}"
    if language == "r":
        tests = f"stopifnot(isTRUE(all.equal(call(x), {value})))"
    if language == "rkt":
        tests = f"(check-within (call x) {value} 0.001)"
    found = (make_canary(language, tests + others, seed) for seed in range(200))
    texts = {f.tests for f in found if isinstance(f, Canary) and f.tests.endswith(others)}
    return {values(language, text)[0] for text in texts}


@pytest.mark.parametrize(
    ("language", "value", "new"),
    [("js", "true", "false"), ("r", "FALSE", "TRUE"), ("rkt", "#f", "#t"), ("cs", "(false)", "(true)")],
)
def test_a_boolean_is_flipped(language: str, value: str, new: str) -> None:
    assert changes(language, value) == {new}


def test_an_integer_moves_to_a_neighbour_and_keeps_sign_digits_and_suffix() -> None:
    assert changes("java", "-41l") == {"-39l", "-40l", "-42l", "-43l", "-44l"}
    assert changes("js", "9") == {"7", "8"}


def test_zero_never_becomes_minus_zero_and_no_number_becomes_zero() -> None:
    assert changes("js", "-0") == {"-1", "-2", "-3"}
    assert changes("js", "1") == {"2", "3", "4"}


@pytest.mark.parametrize(
    ("value", "largest"),
    [("127", 2**7), ("255", 2**8), ("32767", 2**15), ("2147483647", 2**31), ("9223372036854775807", 2**63)],
)
def test_the_largest_integer_of_a_type_stays_in_its_range(value: str, largest: int) -> None:
    assert {int(new) < largest and int(new) != int(value) for new in changes("rs", value)} == {True}


@pytest.mark.parametrize("value", ["100000", "123456789", "9007199254740993", "100000000000000000000"])
def test_a_large_integer_moves_by_more_than_a_relative_tolerance_or_a_double_forgives(value: str) -> None:
    assert min(abs(int(new) / int(value) - 1) for new in changes("r", value)) > 1e-5


@pytest.mark.parametrize("value", ["0.5", "0.0", "-2.25", "1000.5", "1e-9", "2.5e3", "1.5f"])
def test_a_float_moves_far_beyond_a_tolerance(value: str) -> None:
    old = float(value.rstrip("f"))
    new = [float(text.rstrip("f")) for text in changes("cpp", value)]
    assert min(abs(n - old) for n in new) >= 1
    assert min(abs(n - old) for n in new) >= 0.1 * abs(old)


def test_a_number_with_a_relative_tolerance_moves_by_a_tenth() -> None:
    tests = "stopifnot(isTRUE(all.equal(call(x), 5000, tolerance = 0.01)))"
    new = {float(values("r", canary("r", tests, seed).tests)[0]) for seed in range(50)}
    assert min(abs(n - 5000) for n in new) >= 500


def test_a_string_changes_one_letter_for_one_of_its_kind() -> None:
    for new in changes("js", '"aB3-"'):
        different = [(a, b) for a, b in zip('"aB3-"', new, strict=True) if a != b]
        assert len(different) == 1
        (a, b) = different[0]
        assert a.isalnum()
        assert (a.islower(), a.isupper(), a.isdigit()) == (b.islower(), b.isupper(), b.isdigit())


def test_an_empty_string_gets_a_letter() -> None:
    assert {len(new) for new in changes("js", '""')} == {3}
    assert all(new[1].isalpha() for new in changes("js", '""'))


def test_escapes_and_interpolations_are_never_touched() -> None:
    assert all(new.startswith(r'"\n\u0041\x41') and new.endswith('"') for new in changes("js", r'"\n\u0041\x41z"'))
    assert all(new.startswith('"$name') for new in changes("php", '"$name z"'))
    assert all(new.startswith(r'"\$') for new in changes("pl", r'"\$az"'))
    assert changes("cpp", r"'\n'") == set()


def test_a_character_stays_one_character() -> None:
    assert {len(new) for new in changes("cpp", "'a'")} == {3}
    assert {len(new) for new in changes("rkt", r"#\a")} == {3}


def test_words_of_a_small_vocabulary_are_exchanged_for_each_other() -> None:
    others = '; assert(call(y) == "NO"); assert(call(z) == "YES"); assert(call(w) == "NO");'
    assert changes("cpp", '"YES"', others) == {'"NO"'}


def test_perl_booleans_are_flipped() -> None:
    others = '; if(eq_deeply(call(y), "")) {} else { exit 1 }'
    assert changes("pl", "1", others) == {'""'}
    assert changes("pl", "1") == {"2", "3", "4"}


def test_keys_of_maps_and_members_of_sets_stay_distinct() -> None:
    for new in changes("java", 'Map.of("a", 1, "b", 2)'):
        literals = [token.text for token in scan("java", new) if token.kind in ("string", "number")]
        assert len(set(literals)) == len(literals)


def test_lengths_in_types_are_not_values() -> None:
    assert [token.text for token in changeable(tuple(scan("go", "[2]int{3, 4}")))] == ["3", "4"]
    assert [token.text for token in changeable(tuple(scan("rs", "[7; 5]")))] == ["7"]
    assert [token.text for token in changeable(tuple(scan("cpp", "std::array<int, 2>({1, 2})")))] == ["1", "2"]


def test_null_and_empty_values_send_the_choice_to_another_assertion() -> None:
    tests = "assert.deepEqual(f(1), null); assert.deepEqual(f(2), []); assert.deepEqual(f(3), 4);"
    assert {canary("js", tests, seed).before for seed in range(20)} == {"deepEqual(f(3), 4)"}


@pytest.mark.parametrize(
    ("language", "tests", "reason"),
    [
        ("js", "assert.deepEqual(f(1), []);", "empty or null"),
        ("js", "console.log(f(1));", "no assertion"),
        ("cobol", "assert(f(1) == 2);", "'cobol'"),
    ],
)
def test_where_nothing_can_be_changed_the_reason_is_told(language: str, tests: str, reason: str) -> None:
    found = make_canary(language, tests, 0)
    assert isinstance(found, NoCanary)
    assert reason in found.reason


def test_no_change_takes_a_literal_that_is_already_in_the_value() -> None:
    token = scan("js", "1")[0]
    pool = Pool([[token]])
    for seed in range(50):
        new = changed(token, {"1", "2", "3"}, pool, random.Random(seed), language="js", relative=False)
        assert new == "4"


# Programs that return, for 0, 1, ... a value of each kind, and MultiPL-E's frame around an assertion for each.
PROGRAMS = {
    "js": (
        "function f(n) { return [true, -7, 0.5, 'aB', [1, [2]], {'k': undefined, 'l': ''}, '', 20][n]; }\n",
        "const assert = require('node:assert');\nfunction test() {\n  let candidate = f;\n  ASSERTIONS\n}\ntest();\n",
        "assert.deepEqual(candidate(#),@);",
        ["true", "-7", "0.5", '"aB"', "[1, [2]]", '{"k": undefined, "l": ""}', '""', "20"],
    ),
    "php": (
        "<?php\nfunction f($n) { return [true, -7, 0.5, 'aB', [1, [2]], ['k' => null, 'l' => ''], '', 20][$n]; }\n",
        "function candidate(...$args) { return f(...$args); }\nfunction test(): void {\n  ASSERTIONS\n}\ntest();\n",
        'if (candidate(#) !== @) { throw new Exception("Test failed!"); }',
        ["true", "-7", "0.5", '"aB"', "array(1, array(2))", 'array("k" => null, "l" => "")', '""', "20"],
    ),
    "lua": (
        "local function f(n) return ({true, -7, 0.5, 'aB', {1, {2}}, {k = ''}, '', 20})[n + 1] end\n",
        "lu = require('luaunit')\nfunction test_humaneval()\nlocal candidate = f\n ASSERTIONS\nend\n"
        "os.exit(lu.LuaUnit.run())\n",
        "lu.assertEquals(candidate(#), @)",
        ["true", "-7", "0.5", "'aB'", "{1, {2}}", "{['k'] = ''}", "''", "20"],
    ),
    "pl": (
        "sub f { return (1, -7, 0.5, 'aB', [1, [2]], {'k' => undef, 'l' => ''}, '', 20)[$_[0]]; }\n",
        "use Test::Deep;\nsub testhumaneval {\n my $candidate = \\&f;\n ASSERTIONS\n}\ntesthumaneval();\n",
        'if(eq_deeply($candidate->(#),@)) {\n print "ok!" }else{\n exit 1;\n }',
        ["1", "-7", "0.5", '"aB"', "[1, [2]]", '{"k" => undef, "l" => ""}', '""', "20"],
    ),
    "rb": (
        "def f(n)\n [true, -7, 0.5, 'aB', [1, [2]], {'k' => nil, 'l' => ''}, '', 20][n]\nend\n",
        "require 'test/unit'\nclass TestHumanEval < Test::Unit::TestCase\n def test_f\n "
        "candidate = method(:f)\n ASSERTIONS\n"
        " end\nend\n",
        "assert_equal(@, candidate.call(#))",
        ["true", "-7", "0.5", '"aB"', "[1, [2]]", '{"k" => nil, "l" => ""}', '""', "20"],
    ),
    "sh": (
        "f() {\n local all=(true -7 0.5 aB '1 2' 'k,\\nl,2' '' 20)\n printf '%s' \"${all[$1]}\"\n",
        '}\ncandidate() {\n f "$@"\n}\nset -e\nrun_test() {\n ASSERTIONS\n}\nrun_test\n',
        '[[ $(candidate "#") = @ ]]',
        ['"true"', '"-7"', '"0.5"', '"aB"', '"1 2"', '"k,\\nl,2"', '""', '"20"'],
    ),
    "cpp": (
        "#include <cassert>\n#include <map>\n#include <string>\n#include <tuple>\n#include <vector>\n"
        "std::tuple<bool, long, float, std::string, std::vector<long>, std::map<std::string, char>> f(long) {\n"
        '    return {true, -7, 0.5f, "aB", {1, 2}, {{"k", \'c\'}}};\n',
        "}\nint main() {\n    auto candidate = f;\n    ASSERTIONS\n}\n",
        "assert(candidate((#)) == (@));",
        [
            'std::make_tuple(true, (long)-7, 0.5f, std::string("aB"), std::vector<long>({(long)1, (long)2}), '
            "std::map<std::string,char>({{\"k\", 'c'}}))"
        ],
    ),
}


def outcome(language: str, program: str, folder: Path) -> str:
    """What running a program says, by the judge's own table of languages (no sandbox: the programs are ours)."""
    row = find(language)
    tools = toolchain(row)
    if tools is None or tools.lacking_for(program):
        pytest.skip(f"{install_hint(row)}")
    (folder / tools.source_name()).write_text(program)
    ways = tools.compile_ways()
    for command in [*(ways[-1] if ways else []), tools.run_command(512)]:
        run = subprocess.run(command, cwd=folder, env=tools.environment, capture_output=True, text=True, timeout=120)
        if run.returncode:
            break
    return read_exit(row, run.returncode, run.stdout, run.stderr)


@pytest.mark.parametrize("language", sorted(PROGRAMS))
def test_a_right_program_passes_its_tests_and_fails_canaries_by_a_wrong_answer(language: str, tmp_path: Path) -> None:
    program, frame, assertion, expected = PROGRAMS[language]
    lines = [assertion.replace("#", str(i)).replace("@", value) for i, value in enumerate(expected)]
    tests = frame.replace("ASSERTIONS", "\n ".join(lines))
    assert outcome(language, program + tests, tmp_path) == "passed"
    # A canary for every assertion, so that every kind of value is seen to differ for the language itself.
    by_line = {found.line: found for found in (canary(language, tests, seed) for seed in range(80))}
    assert len(by_line) == len(expected)
    for found in list(by_line.values())[: 2 if language == "cpp" else None]:
        assert outcome(language, program + found.tests, tmp_path) == "wrong answer", found


def test_a_program_that_leaves_before_its_tests_passes_the_canary_too(tmp_path: Path) -> None:
    tests = "const assert = require('node:assert');\nassert.deepEqual(f(1), 2);\n"
    program = "function f(n) { return 0; }\nprocess.exit(0);\n"
    assert outcome("js", program + tests, tmp_path) == "passed"
    assert outcome("js", program + canary("js", tests).tests, tmp_path) == "passed"
