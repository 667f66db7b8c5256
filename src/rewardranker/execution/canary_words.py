"""The words by which assertions and expected values are known: names of assertions, of types and constructors."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EQUAL_ARGUMENTS = _words(
    """deepEqual deepStrictEqual equal strictEqual assertEquals assertEqual assert_equal assert_eq assertSame
    assertStrictEquals assertItemsEquals assertAlmostEquals assert_in_delta is_deeply cmp_deeply is
    expect_equal expect_identical check-equal? check-eqv? check-eq? check-within AreEqual Equal
    EXPECT_EQ ASSERT_EQ EXPECT_NEAR EXPECT_STREQ XCTAssertEqual"""
)
PREDICATES = _words("all.equal identical eq_deeply isapprox isClose")
"""Called with two values that are to be equal: they tell it to what stands around them."""

CONDITIONS = _words(
    """assert Assert IsTrue True assertTrue assert_true test precondition stopifnot ok enforce EXPECT_TRUE
    ASSERT_TRUE XCTAssert XCTAssertTrue check-true"""
)
FAILS = _words("throw exit die panic Fatalf Fatal Fail FailNow abort raise")
"""What ends a test, in any language."""
FAILS_IN = {"go": _words("Error Errorf"), "lua": _words("error"), "r": _words("stop")}
"""What ends a test in one language; elsewhere it may only write a message."""
METHODS = _words("equals Equals SequenceEqual sameElements eql? SetEquals")
TABLE_FIELDS = _words("expected want")

# Words that may stand in an expected value: types and constructors.
VALUE_WORDS = {
    "cpp": "std make_tuple make_pair vector map set unordered_map unordered_set tuple pair optional nullopt any "
    "variant string long int short float double char bool unsigned size_t int64_t array list union",
    "cs": "new List Dictionary HashSet Tuple ValueTuple Create long int float double string char bool decimal object "
    "Nullable null",
    "d": "tuple Tuple nullable Nullable init string long int double float bool immutable",
    "go": "interface string int int32 int64 float32 float64 bool rune byte map struct nil",
    "java": "new List Map Set ArrayList HashMap HashSet LinkedList Arrays Optional OptionalLong Pair Triplet Quartet "
    "Quintet with of asList empty Long Integer Double Float String Boolean Character long int float double boolean "
    "char Object",
    "jl": "Dict Set Vector Array Tuple Int64 Int Float64 String Bool Any Char Union Nothing nothing",
    "js": "undefined null new Map Set",
    "lua": "nil None",
    "php": "array null NULL",
    "pl": "undef",
    "r": "c list NULL NA character numeric integer logical vector",
    "rb": "nil Set new",
    "rkt": "list cons hash #hash vector quote . void set",
    "rs": "vec String Vec HashMap HashSet BTreeMap BTreeSet from new to_string to_owned to_vec into Some None Ok Err "
    "isize usize i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 bool str char",
    "scala": "List Tuple2 Tuple3 Tuple4 Tuple5 Map Set Seq Array Vector Some None Option Left Right toLong toInt "
    "toFloat toDouble Long Int Float Double String Boolean Char Any",
    "sh": "",
    "swift": "as nil Int Double Float String Bool Character AnyHashable Set Optional",
    "ts": "undefined null new Map Set",
}
