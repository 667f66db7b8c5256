"""Java that does nothing but compute, and Java that may do more: what the judge must tell apart by class files."""

from __future__ import annotations

LINES = "import java.util.*;\nimport java.util.function.*;\nimport java.util.stream.*;\nimport java.math.*;\n"


def program(body: str, members: str = "", others: str = "") -> str:
    return f"{LINES}class Problem {{ {members}\npublic static void main(String[] args) {{ {body} }} }}\n{others}"


# What is in it -> (program, a part of the reason why it runs in a machine of its own).
IMPURE: dict[str, tuple[str, str]] = {
    "exit": (program("System.exit(0);"), "System.exit"),
    "halt": (program("Runtime.getRuntime().halt(0);"), "java/lang/Runtime"),
    "a clock": (program("long x = System.nanoTime();"), "System.nanoTime"),
    "a date": (program("Object x = new Date();"), "java/util/Date"),
    "a time": (program("Object x = java.time.Instant.now();"), "java/time/Instant"),
    "printing": (program("System.out.println(1);"), "System.out"),
    "reading": (program("int x = new Scanner(System.in).nextInt();"), "java/util/Scanner"),
    "files": (program('boolean x = new java.io.File("/").exists();'), "java/io/File"),
    "a property": (program('System.setProperty("a", "b");'), "System.setProperty"),
    "a property read as a number": (program('Object x = Integer.getInteger("a");'), "Integer.getInteger"),
    "the environment": (program('Object x = System.getenv("a");'), "System.getenv"),
    "a default locale": (program("Locale.setDefault(Locale.ROOT);"), "Locale.setDefault"),
    "a default time zone": (program("TimeZone.setDefault(null);"), "java/util/TimeZone"),
    "a thread": (program("new Thread(() -> {}).start();"), "java/lang/Thread"),
    "a class that is a thread": (program("", others="class T extends Thread {}"), "extends java/lang/Thread"),
    "a foreign type": (program("boolean x = (Object) args instanceof Thread;"), "class java/lang/Thread"),
    "a thread's hook": (program("Thread.setDefaultUncaughtExceptionHandler((t, e) -> {});"), "java/lang/Thread"),
    "a thread's memory": (program("new ThreadLocal<Integer>().set(1);"), "java/lang/ThreadLocal"),
    "a pool": (program("java.util.concurrent.ForkJoinPool.commonPool();"), "java/util/concurrent/ForkJoinPool"),
    "a timer": (program("new Timer();"), "java/util/Timer"),
    "a parallel stream": (program("List.of(1).parallelStream();"), "List.parallelStream"),
    "a stream made parallel": (program("IntStream.range(0, 3).parallel();"), "IntStream.parallel"),
    "a parallel sort": (program("Arrays.parallelSort(new int[] {1});"), "Arrays.parallelSort"),
    "an inherited parallel stream": (
        program("new L().parallelStream();", others="class L extends ArrayList<Integer> {}"),
        "L.parallelStream",
    ),
    "an inherited stack trace behind an interface": (
        program(
            "((P) new E()).getStackTrace();",
            others="interface P { StackTraceElement[] getStackTrace(); } class E extends Exception implements P {}",
        ),
        "P.getStackTrace",
    ),
    "a method reference": (program("Supplier<Long> x = System::nanoTime;"), "System.nanoTime"),
    "chance": (program("double x = Math.random();"), "Math.random"),
    "a generator without a seed": (program("int x = new Random().nextInt();"), "Random.<init>()V"),
    "a generator of a class of its own": (
        program("int x = new R().nextInt();", others="class R extends Random {}"),
        "Random.<init>()V",
    ),
    "chance that all share": (program("Collections.shuffle(new ArrayList<>(List.of(1)));"), "Collections.shuffle"),
    "an unseeded test of primes": (program("boolean x = BigInteger.TEN.isProbablePrime(1);"), "isProbablePrime"),
    "interning": (program('String x = new String("a").intern();'), "String.intern"),
    "an identity hash code": (program("int x = System.identityHashCode(args);"), "System.identityHashCode"),
    "an identity table": (program("new IdentityHashMap<>().put(1, 2);"), "java/util/IdentityHashMap"),
    "a weak table": (program("new WeakHashMap<>().put(1, 2);"), "java/util/WeakHashMap"),
    "a soft reference": (program("new java.lang.ref.SoftReference<>(args).get();"), "java/lang/ref/SoftReference"),
    "a collection of garbage": (program("System.gc();"), "System.gc"),
    "a finalizer": (program("", "protected void finalize() {}"), "declares finalize"),
    "a native method": (program("", "static native void f();"), "declares f"),
    "reflection": (program("Object x = String.class.getDeclaredMethods();"), "Class.getDeclaredMethods"),
    "a class by its name": (
        program('try { Class.forName("A"); } catch (ClassNotFoundException e) {}'),
        "catches java/lang/ClassNotFoundException",
    ),
    "a class's name": (program("String x = args.getClass().getName();"), "Class.getName"),
    "a class loader": (program("Object x = Problem.class.getClassLoader();"), "Class.getClassLoader"),
    "a class loader of its own": (
        program("", others="class C extends ClassLoader {}"),
        "extends java/lang/ClassLoader",
    ),
    "switched assertions": (
        program("ClassLoader.getSystemClassLoader().setDefaultAssertionStatus(false);"),
        "java/lang/ClassLoader",
    ),
    "method handles": (program("Object x = java.lang.invoke.MethodHandles.lookup();"), "MethodHandles.lookup"),
    "a stack trace": (program("Object x = new Exception().getStackTrace();"), "Exception.getStackTrace"),
    "a printed stack trace": (program("new Exception().printStackTrace();"), "Exception.printStackTrace"),
    "an inherited stack trace": (
        program("Object x = new E().getStackTrace();", others="class E extends Exception {}"),
        "E.getStackTrace",
    ),
    "a suppressed exception": (
        program("new Exception().addSuppressed(new Exception());"),
        "Exception.addSuppressed",
    ),
    "walking the stack": (program("StackWalker.getInstance();"), "java/lang/StackWalker"),
    "catching all": (program("try { args[0] = null; } catch (Throwable e) {}"), "catches java/lang/Throwable"),
    "catching errors": (program("try { args[0] = null; } catch (Error e) {}"), "catches java/lang/Error"),
    "catching a full stack": (
        program("try { args[0] = null; } catch (StackOverflowError e) {}"),
        "catches java/lang/StackOverflowError",
    ),
    "catching a full heap": (
        program("try { args[0] = null; } catch (OutOfMemoryError | ArithmeticException e) {}"),
        "catches java/lang/OutOfMemoryError",
    ),
    "a finally that swallows": (program("try { args[0] = null; } finally { return; }"), "catches everything"),
    "a monitor": (program("synchronized (Integer.class) { args = null; }"), "catches everything"),
    "waiting": (program("try { args.wait(); } catch (InterruptedException e) {}"), "InterruptedException"),
    "waking": (program("args.notifyAll();"), "Object.notifyAll"),
    "waking by an inherited method": (
        program("new L().notify();", others="class L { void f() { notify(); } }"),
        "notify",
    ),
    "serialization": (
        program("new java.io.ObjectOutputStream(null);".join(("try {", "} catch (java.io.IOException e) {}"))),
        "catches java/io/IOException",
    ),
    "an annotation of its own": (program("", others="@interface A {}"), "extends java/lang/annotation/Annotation"),
    "a provider of digests": (
        program("java.security.Security.getProviders();"),
        "java/security/Security",
    ),
    "a logger": (program('java.util.logging.Logger.getLogger("a");'), "java/util/logging/Logger"),
    "a resource": (program('ResourceBundle.getBundle("a");'), "java/util/ResourceBundle"),
    "a proxy": (program("java.lang.reflect.Proxy.isProxyClass(null);"), "java/lang/reflect/Proxy"),
    "a preference": (program('Currency.getInstance("EUR");'), "java/util/Currency"),
    "a lambda's name": (program("Runnable r = () -> {}; String x = r.toString();"), "Object.toString"),
    "a lambda's name, joined": (
        program('Runnable r = () -> {}; String x = "" + r;'),
        "makes text of objects|String.valueOf",
    ),
    "a lambda's name in a list": (
        program("String x = String.valueOf(List.of(Function.identity()));"),
        "String.valueOf",
    ),
    "a lambda's name in a format": (program('String x = String.format("%s", Function.identity());'), "String.format"),
    "a lambda's name in a wrong cast": (
        program(
            "try { Object x = (Integer) (Object) Function.identity(); } catch (RuntimeException e) { e.getMessage(); }"
        ),
        "RuntimeException.getMessage",
    ),
    "a lambda's name in an array": (program("Arrays.toString(new Object[] {Function.identity()});"), "Arrays.toString"),
    "a lambda's name, built": (
        program("new StringBuilder().append((Object) Function.identity());"),
        "StringBuilder.append",
    ),
    "the lambda of a stream": (
        program(
            "new I().forEachRemaining(null);",
            others="class I implements Iterator<Integer> { String s; public boolean hasNext() { return false; }"
            " public Integer next() { return 1; }"
            ' public void forEachRemaining(Consumer<? super Integer> c) { s = "" + c; } }',
        ),
        "makes text of objects|String.valueOf",
    ),
}

# Constructs that honest programs and MultiPL-E's tests use.
PURE: dict[str, str] = {
    "assertions": program("assert(f(1l) == (2l));", "static long f(long x) { return x + 1; }"),
    "lists": program(
        "assert(f(new ArrayList<Long>(Arrays.asList((long)1l)))"
        ".equals((new ArrayList<Long>(Arrays.asList((long)2l)))));",
        "static ArrayList<Long> f(ArrayList<Long> x) { x.replaceAll(v -> v + 1); Collections.sort(x); return x; }",
    ),
    "tuples": "import org.javatuples.*;\n"
    + program("assert(Pair.with(1l, 2l).equals(Pair.with(1l, 2l)) && Pair.with(1, 2).getValue0() == 1);"),
    "tables": program(
        'Map<String, Integer> m = new TreeMap<>(new HashMap<>()); m.merge("a", 1, Integer::sum);'
        " for (Map.Entry<String, Integer> e : m.entrySet()) assert e.getValue() == 1;"
    ),
    "streams": program(
        "assert IntStream.range(0, 5).boxed().filter(x -> x > 2).map(x -> x * 2).collect(Collectors.toList())"
        ".size() == 2;"
        ' assert Arrays.stream(new int[] {1}).mapToObj(String::valueOf).collect(Collectors.joining(",")).equals("1");'
        ' assert Stream.of("b", "a").sorted(Comparator.comparing(String::length).reversed()).count() == 2;'
    ),
    "text": program(
        'StringBuilder b = new StringBuilder(); for (char c : "ab".toCharArray()) b.append(Character.toUpperCase(c));'
        " assert (b.reverse().toString() + 1 + 'c' + 2.5).equals(\"BA1c2.5\");"
        ' assert String.format("%.2f", 1.5).length() == 4;'
        ' assert "a,b".split(",").length == 2 && "x1".matches("\\\\w\\\\d") && ("" + List.of(1)).equals("[1]");'
    ),
    "exceptions of the platform": program(
        'try { Integer.parseInt("x"); assert false; } catch (NumberFormatException e) { e.getMessage(); }'
        ' try { throw new IllegalStateException("x"); } catch (RuntimeException e) { assert e.toString() != null; }'
    ),
    "exceptions of its own": program(
        'try { throw new E("x"); } catch (E e) { assert e.getMessage().equals("x"); }',
        others="class E extends Exception { E(String s) { super(s); } }",
    ),
    "enums": program(
        'Colour c = Colour.valueOf("RED"); switch (c) { case RED: break; default: assert false; }'
        " Map<Colour, Integer> m = new EnumMap<>(Colour.class); m.put(c, 1); assert Colour.values().length == 2;",
        others="enum Colour { RED, BLUE }",
    ),
    "classes": program(
        "Set<P> s = new HashSet<>(); s.add(new P(1)); assert s.contains(new P(1));"
        " assert new PriorityQueue<>(List.of(new P(2), new P(1))).poll().x == 1;",
        others="class P implements Comparable<P> { int x; P(int x) { this.x = x; } public int hashCode() { return x; }"
        " public boolean equals(Object o) { return o != null && o.getClass() == getClass() && ((P) o).x == x; }"
        " public int compareTo(P o) { return Integer.compare(x, o.x); } }",
    ),
    "iterators": program(
        "int n = 0; for (int x : new R()) n += x; assert n == 3;",
        others="class R implements Iterable<Integer> { public Iterator<Integer> iterator() {"
        " return new Iterator<Integer>() { int i = 0; public boolean hasNext() { return i < 3; }"
        " public Integer next() { return i++; } }; } }",
    ),
    "large numbers": program(
        'assert new BigInteger("12").modPow(BigInteger.TWO, BigInteger.TEN).intValue() == 4;'
        ' assert new BigDecimal("1.25").setScale(1, RoundingMode.HALF_UP).toString().equals("1.3");'
    ),
    "a generator with a seed": program("assert new Random(1).nextInt(5) < 5;"),
    "arrays": program("int[][] a = new int[2][3]; a[0] = a[1].clone(); System.arraycopy(a[0], 0, a[1], 0, 3);"),
    "a synchronized method": program("f();", "static synchronized void f() {}"),
    "optional values": program("assert Optional.of(1).equals(Optional.of(1)) && Optional.empty().isEmpty();"),
    "the same name as a member of the platform's": program(
        "assert stop(1) == 1;", "static int stop(int x) { return x; }"
    ),
}

# --- programs with MultiPL-E's tests ----------------------------------------------------------------------------------

TESTS = """    }
    public static void main(String[] args) {
    assert(f((1l)).equals((2l)));
    assert(f((2l)).equals((3l)));
    assert(f((3l)).equals((4l)));
    }

}
"""


def solution(body: str, result: str = "Long", members: str = "", others: str = "") -> str:
    """A program for `TESTS`, up to the end of `f`'s body."""
    return f"{LINES}{others}class Problem {{\n{members}\n    static {result} f(long x) {{\n{body}\n"


RIGHT = solution("return x + 1;")
WRONG = solution("return x + 2;")


def remembering(seen: str, members: str = "") -> str:
    """A program that calls equal whatever it is asked for first, and would do so no more if it knew it for a rerun.

    Args:
        seen: whether text `key` was seen before, in this run or another, by what a machine's runs might share.
    """
    return solution(
        "return new V(x);",
        "V",
        others="class V { long x; static Set<String> mine = new HashSet<>();\n"
        f"{members}\n"
        "V(long x) { this.x = x; }\n"
        f"boolean seen(String key) {{ {seen} }}\n"
        # A second run knows all values of the first: one that it does not know is the changed one, or was.
        'public boolean equals(Object o) { String any = "run" + x, this_ = any + o;'
        " boolean again = seen(any), known = seen(this_); return !again || known; } }\n",
    )


# Programs that would pass where both runs, or those of an earlier program, share a machine. None may.
CHEATS: dict[str, str] = {
    "remembers in its class": remembering("return !mine.add(key);"),
    "remembers by interned texts": remembering(
        "String fresh = new String(key.toCharArray()); return fresh.intern() != fresh;"
    ),
    "remembers by properties": remembering("return System.setProperty(key, key) != null;"),
    "remembers by the default locale": remembering(
        'boolean found = Locale.getDefault().getVariant().contains(key.replaceAll("\\\\W", ""));'
        ' Locale.setDefault(new Locale("en", "US", Locale.getDefault().getVariant() + key.replaceAll("\\\\W", "")));'
        " return found;"
    ),
    "remembers by the number of lambdas": remembering(
        "Runnable r = () -> {}; String name = r.toString();"
        ' int number = Integer.parseInt(name.replaceAll(".*Lambda\\\\D*(\\\\d+).*", "$1")); return number > 40;'
    ),
    "remembers by threads that stay": remembering(
        "for (Thread each : Thread.getAllStackTraces().keySet()) if (each.getName().equals(key)) return true;"
        " Thread stays = new Thread(() -> { try { Thread.sleep(300); } catch (InterruptedException e) {} }, key);"
        " stays.setDaemon(true); stays.start(); return false;"
    ),
    "remembers by how deep the stack goes": remembering(
        "depth = 0; try { down(); } catch (StackOverflowError e) {} return depth > 20000;",
        "static int depth; static void down() { depth++; down(); }",
    ),
    "always equal": solution(
        "return new V();", "V", others="class V { public boolean equals(Object o) { return true; } }\n"
    ),
    "main that catches": solution(
        "return 0l; } static class Inner { static Long f(long x) { return 0l;",
        members="public static void main(String[] a) { try { Inner.main(a); } catch (AssertionError e) {} }",
    ),
    "leaves in equals": solution(
        "return new V();",
        "V",
        others="class V { public boolean equals(Object o) { System.exit(0); return true; } }\n",
    ),
    "a finalizer that leaves": solution(
        "while (true) { new V(); System.gc(); System.runFinalization(); }",  # until it has left
        others="class V { protected void finalize() { Runtime.getRuntime().halt(0); } }\n",
    ),
}
CHEATS["main that catches"] += "    }\n"  # closes the inner class's method

# Programs that fail or end oddly: status and detail must be those of a machine of their own.
ENDINGS: dict[str, tuple[str, str]] = {
    "wrong": ("wrong answer", WRONG),
    "does not compile": ("compile error", solution("return missing;")),
    "null": ("exception", solution("Long y = x > 5 ? x : null; return y + 1;")),
    "an index": ("exception", solution("return new ArrayList<Long>().get((int) x);")),
    "no such element": ("exception", solution("return Optional.<Long>empty().get();")),
    "an exception with a cause": (
        "exception",
        solution(
            'try { return Long.parseLong("x"); } catch (NumberFormatException e) { throw new RuntimeException(e); }'
        ),
    ),
    "an assertion of its own": ("wrong answer", solution('assert x > 5 : "x is " + x; return x;')),
    "a wrong cast": ("exception", solution("Object o = new Problem(); return (Long) o;")),
    "an exception of its own": (
        "exception",
        solution(
            "throw new E();", others='class E extends RuntimeException { public String toString() { return "E!"; } }\n'
        ),
    ),
    "a class that can't start": (
        "exception",
        solution("return K.x;", others="class K { static long x = 1 / (int) 0L; }\n"),
    ),
    "an exception in another language": (
        "exception",
        solution('throw new RuntimeException("\\u4e2d\\ud800 at X.main(X.java:1)");'),
    ),
}
LOOP = solution("while (x < 5) { x = x == 4 ? 0 : x + 1; if (x == 9) break; x = Math.min(x, 3); } return x;")
RECURSION = solution("return f(x + 1) + 1;")
MEMORY = solution(
    "long[][] all = new long[4000][]; for (int i = 0; i < 4000; i++) all[i] = new long[1 << 20]; return x;"
)
