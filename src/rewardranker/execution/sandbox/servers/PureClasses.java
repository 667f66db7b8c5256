import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Member;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Tells programs that can do nothing but compute from all others, by their class files.
 *
 * <p>Code reaches what is not its own through the constants of its class file alone. So a program whose constants name
 * only its own classes and what {@link PureMembers} lists can neither reach the machine around it nor leave anything in
 * the virtual machine for another one: no files, no clock, no threads, no chance, no exit, no state of the platform.
 * What such a program could still see of what ran before it is kept from it by four more rules:
 *
 * <ul>
 *   <li>It catches no error of the machine (out of stack, out of memory): these depend on what is compiled already, and
 *       leave the platform's classes half made. So no {@code finally} and no {@code catch (Throwable)}.
 *   <li>A class that inherits from the platform's could be asked for an inherited member by its own name, so names of
 *       members that are not listed are not used on own classes either.
 *   <li>Names of classes that lambdas become hold a number that the virtual machine counts up. A program that has
 *       lambdas (or whatever the platform makes such of) turns only numbers and texts into text, and no exceptions.
 *   <li>What the platform's documentation does not speak of (dynamic constants, other versions or attributes of class
 *       files, other bootstrap methods) is not looked into.
 * </ul>
 *
 * <p>Not guaranteed: that the virtual machine and the platform have no faults of their own, and that a program can't
 * tell by side channels what ran before it (the order in which a hash table of lambdas has them follows the addresses
 * of their classes). Nothing is guaranteed for code that javac has not made. A program that is not understood here is no
 * cheat; it runs in a virtual machine of its own.
 */
final class PureClasses {
    private static final Set<String> ATTRIBUTES =
        Set.of(
            "Code", "StackMapTable", "Exceptions", "BootstrapMethods", "NestHost", "NestMembers", "InnerClasses",
            "EnclosingMethod", "Signature", "SourceFile", "LineNumberTable", "LocalVariableTable",
            "LocalVariableTypeTable", "Record", "PermittedSubclasses", "ConstantValue", "MethodParameters", "Deprecated",
            "Synthetic", "RuntimeVisibleAnnotations");
    /** Named by every class that has lambdas, for its list of inner classes; nothing of them can be used. */
    private static final Set<String> NAMED = Set.of("java/lang/invoke/MethodHandles", "java/lang/invoke/MethodHandles$Lookup");
    /** What a handler that catches an error of the machine names, beside errors that are no listed types anyway. */
    private static final Set<String> EVERYTHING = Set.of("", "java/lang/Throwable", "java/lang/Error");
    private static final Pattern FUNCTIONAL =
        Pattern.compile("java/util/(function|stream)/|java/util/(Comparator|PrimitiveIterator)|java/lang/invoke/LambdaMetafactory");
    /** Types whose text holds no name of a class. */
    private static final Set<String> PLAIN_TEXT =
        Set.of(
            "java/lang/String", "java/lang/StringBuilder", "java/lang/StringBuffer", "java/lang/Integer", "java/lang/Long",
            "java/lang/Short", "java/lang/Byte", "java/lang/Double", "java/lang/Float", "java/lang/Boolean",
            "java/lang/Character", "java/util/StringJoiner");
    /** Where these take an Object, they make text of it. */
    private static final Set<String> TEXT_MAKERS = Set.of("valueOf", "append", "insert", "toString", "deepToString", "format", "formatted");
    private static final Pattern TYPE = Pattern.compile("\\[*(?:L([^;]+);|[BCDFIJSZ])");

    private final PureMembers members = new PureMembers();
    private final Map<String, Set<String>> hidden = new HashMap<>();
    private final int version = Runtime.version().feature() + 44;

    /** Why a program is not one that can only compute; null where it is one.
     *
     * @param files class files by their names, as javac has written them
     */
    String whyNot(Map<String, byte[]> files) {
        try {
            Map<String, ClassFile> classes = new HashMap<>();
            for (Map.Entry<String, byte[]> file : files.entrySet()) {
                ClassFile found = new ClassFile(file.getValue());
                if (!file.getKey().equals(found.name + ".class")) {
                    return "a file of another name";
                }
                classes.put(found.name, found);
            }
            Program program = new Program(classes);
            for (ClassFile each : classes.values()) {
                String why = program.whyNot(each);
                if (why != null) {
                    return why;
                }
            }
            return null;
        } catch (IOException | RuntimeException | LinkageError | ClassNotFoundException problem) {
            return problem.toString();
        }
    }

    private final class Program {
        private final Map<String, ClassFile> own;
        /** Names of members of the platform that own classes inherit and must not use. */
        private final Set<String> forbidden = new HashSet<>();
        private final boolean functional;

        Program(Map<String, ClassFile> own) throws IOException, ClassNotFoundException {
            this.own = own;
            boolean found = false;
            for (ClassFile file : own.values()) {
                for (int i = 1; i < file.constants(); i++) {
                    found |= file.tag(i) == ClassFile.UTF8 && FUNCTIONAL.matcher(file.text(i)).find();
                }
                for (String parent : file.parents) {
                    if (!own.containsKey(parent) && members.hasType(parent)) {
                        forbidden.addAll(hiddenIn(parent));
                    }
                }
            }
            functional = found;
        }

        String whyNot(ClassFile file) throws IOException {
            if (file.version != version) {
                return "version " + file.version;
            }
            for (String parent : file.parents) {
                if (!own.containsKey(parent) && !members.hasType(parent)) {
                    return "extends " + parent;
                }
            }
            for (ClassFile.Member member : file.members) {
                if (Modifier.isNative(member.access) || member.name.equals("finalize")) {
                    return "declares " + member.name;
                }
            }
            for (String attribute : file.attributes) {
                if (!ATTRIBUTES.contains(attribute)) {
                    return "attribute " + attribute;
                }
            }
            for (String type : file.caught) {
                if (EVERYTHING.contains(type) || !own.containsKey(type) && !members.hasType(type)) {
                    return "catches " + (type.isEmpty() ? "everything" : type);
                }
            }
            for (int handle : file.bootstraps) {
                String[] method = file.handled(handle);
                boolean dynamic = method[0].startsWith("java/lang/invoke/") || method[0].startsWith("java/lang/runtime/");
                if (!dynamic || !members.has(method[0], method[1], method[2])) {
                    return "bootstrap " + method[0] + "." + method[1];
                }
            }
            for (int i = 1; i < file.constants(); i++) {
                String why = whyNot(file, i);
                if (why != null) {
                    return why;
                }
            }
            return null;
        }

        private String whyNot(ClassFile file, int i) throws IOException {
            switch (file.tag(i)) {
                case ClassFile.CLASS:
                    String type = element(file.className(i));
                    return type == null || own.containsKey(type) || members.hasType(type) || NAMED.contains(type)
                        ? null
                        : "class " + type;
                case ClassFile.FIELD:
                case ClassFile.METHOD:
                case ClassFile.INTERFACE_METHOD:
                    String[] used = file.reference(i);
                    return isPure(used[0], used[1], used[2]) ? null : "uses " + used[0] + "." + used[1] + used[2];
                case ClassFile.INVOKE_DYNAMIC:
                    // Newer compilers make text of each object before they join it.
                    String[] method = file.handled(file.bootstraps.get(file.bootstrapOf(i)));
                    boolean text = method[0].equals("java/lang/invoke/StringConcatFactory");
                    return functional && text && !isPlain(file.callDescriptor(i)) ? "makes text of objects" : null;
                default:
                    return null;
            }
        }

        private boolean isPure(String owner, String name, String descriptor) {
            if (functional && showsNames(owner, name, descriptor)) {
                return false;
            }
            if (owner.startsWith("[")) {
                return name.equals("clone");
            }
            return own.containsKey(owner) ? !forbidden.contains(name) : members.has(owner, name, descriptor);
        }
    }

    /** Whether a method may make text of an object whose class is a lambda's. */
    private static boolean showsNames(String owner, String name, String descriptor) {
        if (name.equals("getMessage") || name.equals("getLocalizedMessage")) {
            return true;
        }
        if (name.equals("toString") && descriptor.startsWith("()")) {
            return !PLAIN_TEXT.contains(owner) && !owner.startsWith("java/math/");
        }
        return TEXT_MAKERS.contains(name) && descriptor.contains("Ljava/lang/Object;");
    }

    /** Whether all parameters are numbers or texts. */
    private static boolean isPlain(String descriptor) {
        Matcher types = TYPE.matcher(descriptor.substring(1, descriptor.indexOf(')')));
        while (types.find()) {
            boolean primitive = types.group().length() == 1;
            if (!primitive && !PLAIN_TEXT.contains(types.group(1)) || types.group().startsWith("[")) {
                return false;
            }
        }
        return true;
    }

    /** What an array is made of; null for numbers. */
    private static String element(String type) {
        if (!type.startsWith("[")) {
            return type;
        }
        Matcher parts = TYPE.matcher(type);
        return parts.matches() ? parts.group(1) : type;
    }

    /** Names of members of a platform's type, inherited ones too, of which not all are listed. */
    private Set<String> hiddenIn(String type) throws ClassNotFoundException {
        Set<String> known = hidden.get(type);
        if (known == null) {
            known = new HashSet<>();
            List<Class<?>> waiting = new ArrayList<>(List.of(Class.forName(type.replace('/', '.'), false, null), Object.class));
            while (!waiting.isEmpty()) {
                Class<?> next = waiting.remove(waiting.size() - 1);
                if (next.getSuperclass() != null) {
                    waiting.add(next.getSuperclass());
                }
                waiting.addAll(List.of(next.getInterfaces()));
                for (Method method : next.getDeclaredMethods()) {
                    addReachable(method, known);
                }
                for (Field field : next.getDeclaredFields()) {
                    addReachable(field, known);
                }
            }
            known.removeIf(name -> members.hasName(type, name));
            hidden.put(type, known);
        }
        return known;
    }

    private static void addReachable(Member member, Set<String> names) {
        if (Modifier.isPublic(member.getModifiers()) || Modifier.isProtected(member.getModifiers())) {
            names.add(member.getName());
        }
    }
}
