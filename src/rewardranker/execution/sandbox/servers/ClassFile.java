import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/**
 * What a class file names: its constants, its members, and what its code catches (chapter 4 of the Java Virtual Machine
 * Specification). All that code can use outside of its own frame, it uses through a constant.
 *
 * <p>Not guaranteed: that the code is sound; the machine that loads it checks that.
 */
final class ClassFile {
    static final int UTF8 = 1, INTEGER = 3, FLOAT = 4, LONG = 5, DOUBLE = 6, CLASS = 7, STRING = 8, FIELD = 9, METHOD = 10;
    static final int INTERFACE_METHOD = 11, NAME_AND_TYPE = 12, METHOD_HANDLE = 15, METHOD_TYPE = 16, INVOKE_DYNAMIC = 18;
    private static final int MAGIC = 0xCAFEBABE;

    /** A field or a method that the class declares. */
    static final class Member {
        final int access;
        final String name;

        Member(int access, String name) {
            this.access = access;
            this.name = name;
        }
    }

    final int version;
    final String name;
    /** The superclass, then the interfaces; internal form. */
    final List<String> parents = new ArrayList<>();
    final List<Member> members = new ArrayList<>();
    final List<String> attributes = new ArrayList<>();
    /** What exception handlers catch; "" for everything. */
    final List<String> caught = new ArrayList<>();
    /** Constants of the bootstrap methods' handles. */
    final List<Integer> bootstraps = new ArrayList<>();
    private final int[] tags;
    private final Object[] values;

    /** Throws IOException where the bytes are not a class file as far as it is read here. */
    ClassFile(byte[] bytes) throws IOException {
        DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes));
        if (in.readInt() != MAGIC) {
            throw new IOException("no class file");
        }
        version = in.readInt();
        int count = in.readUnsignedShort();
        tags = new int[count];
        values = new Object[count];
        for (int i = 1; i < count; i++) {
            tags[i] = in.readUnsignedByte();
            values[i] = readConstant(tags[i], in);
            i += tags[i] == LONG || tags[i] == DOUBLE ? 1 : 0;
        }
        in.readUnsignedShort();
        name = className(in.readUnsignedShort());
        int parent = in.readUnsignedShort();
        parents.add(className(parent));
        for (int i = in.readUnsignedShort(); i > 0; i--) {
            parents.add(className(in.readUnsignedShort()));
        }
        for (int kind = 0; kind < 2; kind++) {
            for (int i = in.readUnsignedShort(); i > 0; i--) {
                members.add(new Member(in.readUnsignedShort(), text(in.readUnsignedShort())));
                in.readUnsignedShort();
                readAttributes(in);
            }
        }
        readAttributes(in);
        if (in.read() >= 0) {
            throw new IOException("more than a class file");
        }
    }

    int constants() {
        return tags.length;
    }

    int tag(int index) {
        return tags[index];
    }

    /** A text of the constant pool. */
    String text(int index) throws IOException {
        return (String) get(index, UTF8);
    }

    /** The class, array type or text that a constant of one index stands for. */
    String className(int index) throws IOException {
        return text(((int[]) get(index, CLASS))[0]);
    }

    /** Owner, name and descriptor of a field or method. */
    String[] reference(int index) throws IOException {
        if (tags[index] != FIELD && tags[index] != METHOD && tags[index] != INTERFACE_METHOD) {
            throw new IOException("no reference");
        }
        int[] parts = (int[]) values[index];
        int[] named = (int[]) get(parts[1], NAME_AND_TYPE);
        return new String[] {className(parts[0]), text(named[0]), text(named[1])};
    }

    /** What a method handle's constant refers to. */
    String[] handled(int index) throws IOException {
        return reference(((int[]) get(index, METHOD_HANDLE))[1]);
    }

    /** Number of the bootstrap method and descriptor of a call site. */
    int bootstrapOf(int index) throws IOException {
        return ((int[]) get(index, INVOKE_DYNAMIC))[0];
    }

    String callDescriptor(int index) throws IOException {
        int[] named = (int[]) get(((int[]) get(index, INVOKE_DYNAMIC))[1], NAME_AND_TYPE);
        return text(named[1]);
    }

    private Object get(int index, int tag) throws IOException {
        if (index >= tags.length || tags[index] != tag) {
            throw new IOException("a constant of another kind");
        }
        return values[index];
    }

    private static Object readConstant(int tag, DataInputStream in) throws IOException {
        switch (tag) {
            case UTF8:
                return in.readUTF();
            case INTEGER:
            case FLOAT:
                return in.readInt();
            case LONG:
            case DOUBLE:
                return in.readLong();
            case CLASS:
            case STRING:
            case METHOD_TYPE:
                return new int[] {in.readUnsignedShort()};
            case FIELD:
            case METHOD:
            case INTERFACE_METHOD:
            case NAME_AND_TYPE:
            case INVOKE_DYNAMIC:
                return new int[] {in.readUnsignedShort(), in.readUnsignedShort()};
            case METHOD_HANDLE:
                return new int[] {in.readUnsignedByte(), in.readUnsignedShort()};
            default:
                throw new IOException("a constant of kind " + tag);
        }
    }

    private void readAttributes(DataInputStream in) throws IOException {
        for (int i = in.readUnsignedShort(); i > 0; i--) {
            String attribute = text(in.readUnsignedShort());
            int length = in.readInt();
            attributes.add(attribute);
            if (attribute.equals("Code")) {
                in.readInt(); // stack and locals
                skip(in, in.readInt());
                for (int handler = in.readUnsignedShort(); handler > 0; handler--) {
                    skip(in, 6);
                    int type = in.readUnsignedShort();
                    caught.add(type == 0 ? "" : className(type));
                }
                readAttributes(in);
            } else if (attribute.equals("BootstrapMethods")) {
                for (int method = in.readUnsignedShort(); method > 0; method--) {
                    bootstraps.add(in.readUnsignedShort());
                    skip(in, 2 * in.readUnsignedShort());
                }
            } else {
                skip(in, length);
            }
        }
    }

    private static void skip(DataInputStream in, int length) throws IOException {
        if (length < 0 || in.skipBytes(length) < length) {
            throw new IOException("a class file that is cut off");
        }
    }
}
