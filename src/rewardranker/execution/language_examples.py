"""A right and a wrong program for each language, with tests in the style of MultiPL-E: the largest of a list and 0.

The judge runs the right one before it believes that a language's programs fail: a toolchain that can't do this one is
broken.
"""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    prompt: str
    right: str
    """Completion that passes."""
    wrong: str
    """Completion that gives a wrong answer."""
    tests: str


_EXAMPLES: dict[str, tuple[str, str, str, str]] = {
    "py": (
        "def largest(numbers):\n",
        "    return max([0] + numbers)\n",
        "    return max(numbers)\n",
        "def check(candidate):\n    assert candidate([3, 7]) == 7\n    assert candidate([-3]) == 0\n\ncheck(largest)\n",
    ),
    "cpp": (
        "#include<assert.h>\n#include<bits/stdc++.h>\nlong largest(std::vector<long> numbers) {\n",
        "    long best = 0;\n    for (long n : numbers) best = std::max(best, n);\n    return best;",
        "    return numbers[0];",
        "}\nint main() {\n    auto candidate = largest;\n"
        "    assert(candidate((std::vector<long>({(long)3, (long)7}))) == (7));\n"
        "    assert(candidate((std::vector<long>({(long)-3}))) == (0));\n}\n",
    ),
    "java": (
        "import java.util.*;\nclass Problem {\n    public static long largest(ArrayList<Long> numbers) {\n",
        "        long best = 0;\n        for (long n : numbers) best = Math.max(best, n);\n        return best;",
        "        return numbers.get(0);",
        "    }\n    public static void main(String[] args) {\n"
        "    assert(largest((new ArrayList<Long>(Arrays.asList((long)3l, (long)7l)))) == (7l));\n"
        "    assert(largest((new ArrayList<Long>(Arrays.asList((long)-3l)))) == (0l));\n    }\n\n}\n",
    ),
    "js": (
        "function largest(numbers){\n",
        "  return Math.max(0, ...numbers);\n}",
        "  return Math.max(...numbers);\n}",
        "const assert = require('node:assert');\n\nfunction test() {\n  let candidate = largest;\n"
        "  assert.deepEqual(candidate([3, 7]),7);\n  assert.deepEqual(candidate([-3]),0);\n}\n\ntest();",
    ),
    "ts": (
        "function largest(numbers: number[]): number {\n",
        "  let best: number = null;\n  best = Math.max(0, ...numbers);\n  return best;\n}",
        "  return Math.max(...numbers);\n}",
        "declare var require: any;\nconst assert = require('node:assert');\n\nfunction test() {\n"
        "  let candidate = largest;\n  assert.deepEqual(candidate([3, 7]),7);\n"
        "  assert.deepEqual(candidate([-3]),0);\n}\n\ntest();",
    ),
    "php": (
        "<?php\nfunction largest($numbers) {\n",
        "    return max(0, ...$numbers);\n}",
        "    return $numbers[0];\n}",
        "function candidate(...$args) {\n    return largest(...$args);\n}\n\nfunction test(): void {\n"
        '    if (candidate(array(3, 7)) !== 7) { throw new Exception("Test failed!"); }\n'
        '    if (candidate(array(-3)) !== 0) { throw new Exception("Test failed!"); }\n}\n\ntest();',
    ),
    "cs": (
        "using System;\nusing System.Numerics;\nusing System.Diagnostics;\nusing System.Collections.Generic;\n"
        "using System.Linq;\nclass Problem {\n    public static long Largest(List<long> numbers) {\n",
        "        BigInteger best = 0;\n        foreach (var n in numbers) if (n > best) best = n;\n"
        "        return (long)best;",
        "        return numbers[0];",
        "    }\n    public static void Main(string[] args) {\n"
        "    Debug.Assert(Largest((new List<long>(new long[]{(long)3L, (long)7L}))) == (7L));\n"
        "    Debug.Assert(Largest((new List<long>(new long[]{(long)-3L}))) == (0L));\n    }\n\n}\n",
    ),
    "sh": (
        "#!/bin/bash\n# $1 is a space-separated list\nlargest() {\n",
        "    local best=0\n    for n in $1; do\n        if (( n > best )); then best=$n; fi\n    done\n"
        '    echo "$best"',
        '    echo "${1##* }"',
        '}\n\ncandidate() {\n    largest "$@"\n}\n\nset -e\nrun_test() {\n    [[ $(candidate "3 7") = "7" ]]\n'
        '    [[ $(candidate "-3") = "0" ]]\n}\n\nrun_test\n',
    ),
    "rs": (
        "fn largest(numbers: Vec<isize>) -> isize {\n",
        "    numbers.into_iter().max().unwrap_or(0).max(0)",
        "    numbers[0]",
        "}\n\nfn main() {\n    let candidate = largest;\n    assert_eq!(candidate(vec![3, 7]), 7);\n"
        "    assert_eq!(candidate(vec![-3]), 0);\n}\n",
    ),
    "go": (
        'package largest_test\n\nimport (\n    "testing"\n    "fmt"\n)\n\nfunc largest(numbers []int) int {\n',
        "    best := 0\n    for _, n := range numbers {\n        if n > best {\n            best = n\n        }\n"
        "    }\n    return best\n}\n",
        "    return numbers[0]\n}\n",
        "func TestLargest(t *testing.T) {\n  candidate := largest\n\ttype test struct {\n\t\tactual   interface{}\n"
        "\t\texpected interface{}\n\t}\n   tests := []test{\n     { actual: candidate([]int{3, 7}), expected: 7 },\n"
        "     { actual: candidate([]int{-3}), expected: 0 },\n   }\n\n\tfor i, tc := range tests {\n"
        '\t\tt.Run(fmt.Sprintf("test num % d", i), func(t *testing.T) {\n'
        '\t\t\tif fmt.Sprintf("%v", tc.actual) != fmt.Sprintf("%v", tc.expected) {\n'
        "\t\t\t\tt.Errorf(\"expected '%s', got '%s'\", tc.expected, tc.actual)\n\t\t\t}\n\t\t})\n\t}\n}\n",
    ),
    "rb": (
        "def largest(numbers)\n",
        "  [0, *numbers].max\nend",
        "  numbers.max\nend",
        "require 'test/unit'\nclass TestHumanEval < Test::Unit::TestCase\n  def test_largest\n"
        "    candidate = method(:largest)\n    assert_equal(7, candidate.call([3, 7]))\n"
        "    assert_equal(0, candidate.call([-3]))\n  end\nend\n",
    ),
    "lua": (
        "local function largest(numbers)\n",
        "    local best = 0\n    for _, n in ipairs(numbers) do best = math.max(best, n) end\n    return best\nend",
        "    return numbers[#numbers]\nend",
        "lu = require('luaunit')\n\nfunction test_humaneval()\nlocal candidate = largest\n"
        "    lu.assertEquals(candidate({3, 7}), 7)\n    lu.assertEquals(candidate({-3}), 0)\nend\n\n"
        "os.exit(lu.LuaUnit.run())",
    ),
    "pl": (
        "sub largest {\n    my($numbers) = @_;\n",
        "    my $best = 0;\n    for (@$numbers) { $best = $_ if $_ > $best; }\n    return $best;\n}",
        "    return $numbers->[-1];\n}",
        "use Test::Deep;\n\n\nsub testhumaneval {\n    my $candidate = \\&largest;\n"
        '        if(eq_deeply($candidate->([3, 7]),7)) {\n        print "ok!" }else{\n        exit 1;\n        }\n'
        '        if(eq_deeply($candidate->([-3]),0)) {\n        print "ok!" }else{\n        exit 1;\n        }\n}\n\n'
        "testhumaneval();",
    ),
    "r": (
        "largest <- function(numbers) {",
        "\n    max(c(0, numbers))\n}",
        "\n    max(numbers)\n}",
        "test_humaneval <- function() {\n    candidate <- largest\n"
        "    stopifnot(isTRUE(all.equal(candidate(c(3, 7)), 7)))\n"
        "    stopifnot(isTRUE(all.equal(candidate(c(-3)), 0)))\n}\ntest_humaneval()",
    ),
    "rkt": (
        "#lang racket\n\n(define (largest numbers)\n",
        "  (apply max 0 numbers))",
        "  (apply max numbers))",
        "(require rackunit)\n\n(define (test-humaneval) \n\n  (let (( candidate largest))\n"
        "    (check-within (candidate (list 3 7)) 7 0.001)\n    (check-within (candidate (list -3)) 0 0.001)\n))\n\n"
        "(test-humaneval)",
    ),
    "d": (
        "import std.math;\nlong largest(long[] numbers) \n",
        "{\n    long best = 0;\n    foreach (n; numbers) if (n > best) best = n;\n    return best;\n}",
        "{\n    return numbers[$ - 1];\n}",
        "unittest\n{\n    alias candidate = largest;\n\n    assert(candidate([3L, 7L]) == 7L);\n"
        "    assert(candidate([-3L]) == 0L);\n}\nvoid main(){}",
    ),
    "scala": (
        "import scala.math._\nimport scala.collection.mutable._\nobject Problem {\n"
        "    def largest(numbers : List[Long]) : Long = {\n",
        "        (0L :: numbers).max",
        "        numbers.max",
        "    }\n    def main(args: Array[String]) = {\n"
        "    assert(largest((List[Long](3l.toLong, 7l.toLong))) == (7l));\n"
        "    assert(largest((List[Long](-3l.toLong))) == (0l));\n    }\n\n}\n",
    ),
    "jl": (
        "function largest(numbers::Vector{Int64})::Int64 \n",
        "    maximum([0; numbers])\nend",
        "    maximum(numbers)\nend",
        "using Test\n\n@testset begin\n\ncandidate = largest;\n\t@test(candidate([3, 7]) == 7)\n"
        "\t@test(candidate([-3]) == 0)\nend\n",
    ),
    "swift": (
        "func largest(numbers: [Int]) -> Int {\n",
        "    return max(0, numbers.max() ?? 0)",
        "    return numbers[numbers.count - 1]",
        "}\n\nassert(largest(numbers: [3, 7]) == 7)\nassert(largest(numbers: [-3]) == 0)\n",
    ),
}

EXAMPLES = {code: Example(*parts) for code, parts in _EXAMPLES.items()}
"""By MultiPL-E's code of the language."""
