import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Which members of the platform only compute: what they return depends on their arguments and their object alone, and
 * what they change is their arguments and their object.
 *
 * <p>Left out, though one might look for it here, is all that keeps something for the whole machine or reads it:
 * {@code String.intern} (tells whether a text was interned before), {@code Math.random}, {@code new Random()} and
 * {@code Collections.shuffle(list)}, system properties ({@code Integer.getInteger}), parallel streams, weak references
 * (tell of garbage collections), identity hash codes, {@code Throwable}'s stack traces and suppressed exceptions (an
 * exception may be an object that all share), {@code wait} and {@code notify}, clocks, locales' defaults.
 *
 * <p>Caches inside the platform (small boxed numbers, a string's hash, powers of ten) hold what would be computed
 * anew, so nobody can tell whether they were filled. Hash codes that depend on an object's place or on a counter are
 * made constant by the runner's flags.
 */
final class PureMembers {
    /** Of names of types: {@code java/lang/} and so on, and after each the types in it. */
    private static final String[][] GROUPS = {
        {
            "java/lang/: Object Class System",
            // Most of their members are not pure; these are listed with their owners in MORE.
            "",
        },
        {
            "java/lang/: Integer Long Short Byte Double Float Number Boolean Character Math StrictMath",
            "abs absExact acos addExact asin atan atan2 bitCount booleanValue byteValue cbrt ceil charCount charValue"
                + " codePointAt codePointBefore codePointCount compare compareTo compareUnsigned copySign cos cosh decode"
                + " decrementExact digit divideUnsigned doubleToLongBits doubleToRawLongBits doubleValue equals exp expm1"
                + " floatToIntBits floatToRawIntBits floatValue floor floorDiv floorMod ceilDiv ceilMod clamp fma forDigit"
                + " getExponent getNumericValue getType hashCode highSurrogate highestOneBit hypot IEEEremainder"
                + " incrementExact intBitsToFloat intValue isAlphabetic isBmpCodePoint isDefined isDigit isFinite"
                + " isHighSurrogate isISOControl isIdeographic isInfinite isJavaIdentifierPart isJavaIdentifierStart"
                + " isLetter isLetterOrDigit isLowSurrogate isLowerCase isNaN isSpaceChar isSupplementaryCodePoint"
                + " isSurrogate isSurrogatePair isTitleCase isUpperCase isValidCodePoint isWhitespace log log10 log1p"
                + " logicalAnd logicalOr logicalXor longBitsToDouble longValue lowSurrogate lowestOneBit max min"
                + " multiplyExact multiplyFull multiplyHigh negateExact nextAfter nextDown nextUp numberOfLeadingZeros"
                + " numberOfTrailingZeros parseBoolean parseByte parseDouble parseFloat parseInt parseLong parseShort"
                + " parseUnsignedInt parseUnsignedLong pow remainderUnsigned reverse reverseBytes rint rotateLeft"
                + " rotateRight round scalb shortValue signum sin sinh sqrt subtractExact sum tan tanh toBinaryString"
                + " toChars toCodePoint toDegrees toHexString toIntExact toLowerCase toOctalString toRadians toString"
                + " toTitleCase toUnsignedInt toUnsignedLong toUnsignedString toUpperCase ulp valueOf TRUE FALSE",
        },
        {
            "java/lang/: String StringBuilder StringBuffer CharSequence, java/util/: StringJoiner StringTokenizer Locale,"
                + " java/nio/charset/: StandardCharsets",
            "<init> add append appendCodePoint capacity charAt chars codePointAt codePointBefore codePointCount codePoints"
                + " compare compareTo compareToIgnoreCase concat contains contentEquals copyValueOf countTokens delete"
                + " deleteCharAt endsWith ensureCapacity equals equalsIgnoreCase format formatted getBytes getChars"
                + " hasMoreElements hasMoreTokens hashCode indent indexOf insert isBlank isEmpty join lastIndexOf length"
                + " lines matches merge nextElement nextToken offsetByCodePoints regionMatches repeat replace replaceAll"
                + " replaceFirst reverse setCharAt setEmptyValue setLength split startsWith strip stripIndent stripLeading"
                + " stripTrailing subSequence substring toCharArray toLowerCase toString toUpperCase transform"
                + " translateEscapes trim trimToSize valueOf CASE_INSENSITIVE_ORDER ROOT US ENGLISH UTF_8 US_ASCII"
                + " ISO_8859_1",
        },
        {
            "java/lang/: Throwable Exception RuntimeException Error AssertionError ArithmeticException"
                + " ArrayIndexOutOfBoundsException ArrayStoreException ClassCastException CloneNotSupportedException"
                + " IllegalArgumentException IllegalStateException IndexOutOfBoundsException MatchException"
                + " NegativeArraySizeException NoSuchFieldError NullPointerException NumberFormatException"
                + " StringIndexOutOfBoundsException UnsupportedOperationException,"
                + " java/util/: ConcurrentModificationException EmptyStackException InputMismatchException"
                + " NoSuchElementException",
            "<init> getCause getLocalizedMessage getMessage toString",
        },
        {
            "java/lang/: Enum Record Iterable Comparable Runnable Cloneable, java/io/: Serializable",
            "<init> compareTo equals forEach hashCode iterator name ordinal run toString valueOf",
        },
        {
            "java/util/: Collection SequencedCollection List ArrayList LinkedList AbstractCollection AbstractList"
                + " AbstractSequentialList Set HashSet LinkedHashSet SortedSet NavigableSet TreeSet AbstractSet Map HashMap"
                + " LinkedHashMap SortedMap NavigableMap TreeMap AbstractMap AbstractMap$SimpleEntry"
                + " AbstractMap$SimpleImmutableEntry Map$Entry Queue AbstractQueue Deque ArrayDeque PriorityQueue Stack"
                + " Vector Iterator ListIterator PrimitiveIterator PrimitiveIterator$OfInt PrimitiveIterator$OfLong"
                + " PrimitiveIterator$OfDouble RandomAccess EnumMap EnumSet BitSet",
            "<init> add addAll addElement addFirst addLast allOf and andNot cardinality ceiling ceilingEntry ceilingKey"
                + " clear clone comparator comparingByKey comparingByValue complementOf compute computeIfAbsent"
                + " computeIfPresent contains containsAll containsKey containsValue copyOf descendingIterator"
                + " descendingKeySet descendingMap descendingSet element elementAt empty ensureCapacity entry entrySet"
                + " equals first firstElement firstEntry firstKey flip floor floorEntry floorKey forEach forEachRemaining"
                + " get getFirst getKey getLast getOrDefault getValue hasNext hasPrevious hashCode headMap headSet higher"
                + " higherEntry higherKey indexOf insertElementAt intersects isEmpty iterator keySet last lastElement"
                + " lastEntry lastIndexOf lastKey length listIterator lower lowerEntry lowerKey merge modCount"
                + " navigableKeySet next nextClearBit nextDouble nextIndex nextInt nextLong nextSetBit noneOf of ofEntries"
                + " offer offerFirst offerLast or peek peekFirst peekLast poll pollFirst pollFirstEntry pollLast"
                + " pollLastEntry pop previous previousClearBit previousIndex previousSetBit push put putAll putIfAbsent"
                + " range remove removeAll removeAllElements removeEldestEntry removeElement removeElementAt removeFirst"
                + " removeFirstOccurrence removeIf removeLast removeLastOccurrence removeRange replace replaceAll"
                + " retainAll reversed search set setElementAt setSize setValue size sort stream subList subMap subSet"
                + " tailMap tailSet toArray toByteArray toLongArray toString trimToSize valueOf values xor",
        },
        {
            "java/util/: Arrays Collections Objects Optional OptionalInt OptionalLong OptionalDouble",
            "addAll asLifoQueue asList binarySearch checkFromIndexSize checkFromToIndex checkIndex compare compareUnsigned"
                + " copy copyOf copyOfRange deepEquals deepHashCode deepToString disjoint empty emptyIterator emptyList"
                + " emptyListIterator emptyMap emptyNavigableMap emptyNavigableSet emptySet emptySortedMap emptySortedSet"
                + " equals fill filter flatMap frequency get getAsDouble getAsInt getAsLong hash hashCode ifPresent"
                + " ifPresentOrElse indexOfSubList isEmpty isNull isPresent lastIndexOfSubList map max min mismatch"
                + " nCopies newSetFromMap nonNull of ofNullable or orElse orElseGet orElseThrow replaceAll requireNonNull"
                + " requireNonNullElse requireNonNullElseGet reverse reverseOrder rotate setAll singleton singletonList"
                + " singletonMap sort stream swap toString unmodifiableCollection unmodifiableList unmodifiableMap"
                + " unmodifiableNavigableMap unmodifiableNavigableSet unmodifiableSet unmodifiableSortedMap"
                + " unmodifiableSortedSet EMPTY_LIST EMPTY_MAP EMPTY_SET",
        },
        {
            "java/util/: Comparator,"
                + " java/util/function/: BiConsumer BiFunction BinaryOperator BiPredicate BooleanSupplier Consumer"
                + " DoubleBinaryOperator DoubleConsumer DoubleFunction DoublePredicate DoubleSupplier DoubleToIntFunction"
                + " DoubleToLongFunction DoubleUnaryOperator Function IntBinaryOperator IntConsumer IntFunction"
                + " IntPredicate IntSupplier IntToDoubleFunction IntToLongFunction IntUnaryOperator LongBinaryOperator"
                + " LongConsumer LongFunction LongPredicate LongSupplier LongToDoubleFunction LongToIntFunction"
                + " LongUnaryOperator ObjDoubleConsumer ObjIntConsumer ObjLongConsumer Predicate Supplier"
                + " ToDoubleBiFunction ToDoubleFunction ToIntBiFunction ToIntFunction ToLongBiFunction ToLongFunction"
                + " UnaryOperator",
            "accept and andThen apply applyAsDouble applyAsInt applyAsLong compare comparing comparingDouble comparingInt"
                + " comparingLong compose get getAsBoolean getAsDouble getAsInt getAsLong identity isEqual maxBy minBy"
                + " naturalOrder negate not nullsFirst nullsLast or reverseOrder reversed test thenComparing"
                + " thenComparingDouble thenComparingInt thenComparingLong",
        },
        {
            "java/util/stream/: BaseStream Stream IntStream LongStream DoubleStream Stream$Builder IntStream$Builder"
                + " LongStream$Builder DoubleStream$Builder Collectors Collector Collector$Characteristics,"
                + " java/util/: IntSummaryStatistics LongSummaryStatistics DoubleSummaryStatistics",
            "<init> accept add allMatch anyMatch asDoubleStream asLongStream average averagingDouble averagingInt"
                + " averagingLong boxed build builder collect collectingAndThen combine concat count counting distinct"
                + " dropWhile empty filter filtering findAny findFirst flatMap flatMapping flatMapToDouble flatMapToInt"
                + " flatMapToLong forEach forEachOrdered generate getAverage getCount getMax getMin getSum groupingBy"
                + " iterate iterator joining limit map mapMulti mapping mapToDouble mapToInt mapToLong mapToObj max maxBy"
                + " min minBy noneMatch of ofNullable partitioningBy peek range rangeClosed reduce reducing sequential"
                + " skip sorted sum summarizingDouble summarizingInt summarizingLong summaryStatistics summingDouble"
                + " summingInt summingLong takeWhile teeing toArray toCollection toList toMap toSet toUnmodifiableList"
                + " toUnmodifiableMap toUnmodifiableSet unordered",
        },
        {
            "java/util/regex/: Pattern Matcher MatchResult PatternSyntaxException",
            "appendReplacement appendTail asMatchPredicate asPredicate compile end find flags group groupCount hitEnd"
                + " lookingAt matcher matches pattern quote quoteReplacement region regionEnd regionStart replaceAll"
                + " replaceFirst requireEnd reset results split splitAsStream start toMatchResult toString usePattern",
        },
        {
            "java/math/: BigInteger BigDecimal MathContext RoundingMode",
            "abs add and andNot bitCount bitLength byteValue byteValueExact clearBit compareTo divide divideAndRemainder"
                + " divideToIntegralValue doubleValue equals flipBit floatValue gcd getLowestSetBit getPrecision"
                + " getRoundingMode hashCode intValue intValueExact longValue longValueExact max min mod modInverse modPow"
                + " movePointLeft movePointRight multiply name negate not or ordinal plus pow precision remainder round"
                + " scale scaleByPowerOfTen setBit setScale shiftLeft shiftRight shortValue shortValueExact signum sqrt"
                + " sqrtAndRemainder stripTrailingZeros subtract testBit toBigInteger toBigIntegerExact toByteArray"
                + " toEngineeringString toPlainString toString ulp unscaledValue valueOf values xor"
                + " ZERO ONE TWO TEN UNLIMITED DECIMAL32 DECIMAL64 DECIMAL128 UP DOWN CEILING FLOOR HALF_UP HALF_DOWN"
                + " HALF_EVEN UNNECESSARY",
        },
        {
            "java/util/: Random",
            "next nextBoolean nextBytes nextDouble nextFloat nextGaussian nextInt nextLong ints longs doubles setSeed",
        },
        {
            "java/util/concurrent/atomic/: AtomicInteger AtomicLong AtomicBoolean",
            "<init> accumulateAndGet addAndGet compareAndSet decrementAndGet get getAndAccumulate getAndAdd"
                + " getAndDecrement getAndIncrement getAndSet getAndUpdate incrementAndGet intValue longValue set toString"
                + " updateAndGet",
        },
        {
            "org/javatuples/: Unit Pair Triplet Quartet Quintet Sextet Septet Octet Ennead Decade Tuple",
            "<init> add addAt0 addAt1 addAt2 addAt3 compareTo contains containsAll equals forEach fromArray fromCollection"
                + " fromIterable getSize getValue getValue0 getValue1 getValue2 getValue3 getValue4 getValue5 getValue6"
                + " getValue7 getValue8 getValue9 hashCode indexOf iterator lastIndexOf removeFrom0 removeFrom1"
                + " removeFrom2 setAt0 setAt1 setAt2 setAt3 toArray toList toString with",
        },
    };

    /** Owner, name and, where not all of a name's overloads are pure, descriptor. */
    private static final List<String> MORE =
        List.of(
            "java/lang/Object.<init>",
            "java/lang/Object.getClass",
            "java/lang/Object.clone",
            "java/lang/Class.desiredAssertionStatus",
            "java/lang/Class.cast",
            "java/lang/Class.isInstance",
            "java/lang/System.arraycopy",
            "java/lang/System.lineSeparator",
            "java/lang/Number.<init>",
            "java/lang/Integer.<init>",
            "java/lang/Long.<init>",
            "java/lang/Double.<init>",
            "java/lang/Character.<init>",
            "java/lang/Boolean.<init>",
            "java/lang/Enum.getDeclaringClass",
            "java/util/Collections.shuffle(Ljava/util/List;Ljava/util/Random;)V",
            "java/util/Random.<init>(J)V",
            "java/math/BigInteger.<init>(Ljava/lang/String;)V",
            "java/math/BigInteger.<init>(Ljava/lang/String;I)V",
            "java/math/BigInteger.<init>([B)V",
            "java/math/BigInteger.<init>(I[B)V",
            "java/math/BigDecimal.<init>",
            "java/math/MathContext.<init>",
            "java/lang/invoke/LambdaMetafactory.metafactory",
            "java/lang/invoke/LambdaMetafactory.altMetafactory",
            "java/lang/invoke/StringConcatFactory.makeConcatWithConstants",
            "java/lang/invoke/StringConcatFactory.makeConcat",
            "java/lang/runtime/ObjectMethods.bootstrap",
            "java/lang/runtime/SwitchBootstraps.typeSwitch");

    /** Of every object. */
    private static final Set<String> OF_ALL = Set.of("equals", "hashCode", "toString", "getClass");

    private final Map<String, Set<String>> members = new HashMap<>();

    PureMembers() {
        for (String[] group : GROUPS) {
            Set<String> names = new HashSet<>(List.of(group[1].split(" ")));
            names.addAll(OF_ALL);
            for (String part : group[0].split(", ?")) {
                int colon = part.indexOf(": ");
                for (String type : part.substring(colon + 2).split(" ")) {
                    members.put(part.substring(0, colon) + type, new HashSet<>(names));
                }
            }
        }
        for (String member : MORE) {
            int dot = member.indexOf('.');
            members.computeIfAbsent(member.substring(0, dot), owner -> new HashSet<>()).add(member.substring(dot + 1));
        }
    }

    /** Whether a program may name, extend or implement a type; internal form, not an array. */
    boolean hasType(String type) {
        return members.containsKey(type);
    }

    /** Whether a field or a method may be used. */
    boolean has(String owner, String name, String descriptor) {
        return hasName(owner, name) || members.getOrDefault(owner, Set.of()).contains(name + descriptor);
    }

    /** Whether all that the owner has under this name may be used. */
    boolean hasName(String owner, String name) {
        return members.getOrDefault(owner, Set.of()).contains(name);
    }
}
