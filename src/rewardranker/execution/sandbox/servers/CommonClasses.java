package rewardranker;

import java.util.*;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;

/** Loads what short programs use, so that the class list of its run makes an archive that they start from. */
public final class CommonClasses {
    private interface Shape {
        double area();
    }

    private enum Colour {
        RED,
        GREEN
    }

    private CommonClasses() {}

    public static void main(String[] arguments) {
        List<Long> numbers = new ArrayList<>(Arrays.asList(3L, 1L, 2L));
        Collections.sort(numbers, Comparator.comparing((Long x) -> -x).thenComparing(Comparator.naturalOrder()));
        Map<String, Integer> counts = new TreeMap<>(new HashMap<>(Map.of("a", 1, "b", 2)));
        counts.merge("a", 1, Integer::sum);
        counts.computeIfAbsent("c", key -> key.length());
        Set<Object> set = new LinkedHashSet<>(new HashSet<>(Set.of(1, 2)));
        set.addAll(new TreeSet<>(List.of(4, 5)));
        Deque<Integer> deque = new ArrayDeque<>(new LinkedList<>(new PriorityQueue<>(List.of(2, 1))));
        new Stack<Integer>().push(deque.pop());
        new BitSet().set(3);
        new EnumMap<Colour, Integer>(Colour.class).put(Colour.RED, 1);
        Iterator<Long> each = numbers.iterator();
        while (each.hasNext()) {
            each.next();
        }
        String text = numbers.stream().filter(x -> x > 1).map(x -> x + 1).map(String::valueOf).collect(Collectors.joining(","));
        text += IntStream.rangeClosed(1, 5).boxed().collect(Collectors.groupingBy(x -> x % 2, Collectors.counting()));
        text += LongStream.range(0, 3).mapToObj(Long::toString).collect(Collectors.toList());
        text += text.chars().mapToObj(c -> (char) c).distinct().sorted().limit(3).collect(Collectors.toSet());
        text += Stream.of("x", "yy").collect(Collectors.toMap(Function.identity(), String::length));
        text += Arrays.stream(text.split("[,=]")).anyMatch(part -> part.matches("\\d+")) + String.format("%.2f %5d %s", 1.5, 7, "z");
        Matcher matcher = Pattern.compile("(\\w+)\\s*").matcher(text.toLowerCase().trim().replace("a", "b").replaceAll("b+", "c"));
        text += new StringBuilder(matcher.find() ? matcher.group(1) : "").reverse().append(1).append('c').append(2.5);
        Optional<Long> largest = numbers.stream().max(Long::compare);
        Shape shape = () -> Math.sqrt(2) * Math.PI;
        text += largest.orElse(0L) + shape.area() + (float) 1.5 + Integer.toBinaryString(5) + Long.parseLong("12") + Arrays.toString(new int[] {1});
        text += "" + new java.math.BigInteger("12").pow(3).add(new java.math.BigDecimal("1.5").toBigInteger()) + new Random(1).nextInt(5);
        BiFunction<Integer, Integer, Integer> add = Integer::sum;
        Scanner scanner = new Scanner("1 2\nline\n");
        text += add.apply(scanner.nextInt(), scanner.nextInt()) + scanner.nextLine() + scanner.nextLine();
        try {
            assert false : text;
            throw new IllegalStateException(String.valueOf(Objects.hash(text, Optional.of(text), List.copyOf(numbers))));
        } catch (IllegalStateException | AssertionError problem) {
            problem.printStackTrace();
        }
        System.out.println(text);
        System.out.printf("%d%n", text.length());
        System.out.flush();
        Thread self = Thread.currentThread();
        self.getThreadGroup().uncaughtException(self, new AssertionError("the end"));
    }
}
