import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.StringWriter;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler.CompilationTask;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.StandardLocation;
import javax.tools.ToolProvider;

/**
 * javac that stays: compiles one source after the other, without files, in a virtual machine that is warm.
 *
 * <p>Started as {@code JavaCompiler CLASS_PATH}. Requests on standard input, answers on standard output; a frame is a
 * length (4 bytes, little-endian) and that many bytes. A request is two frames, file name and source, both UTF-8. An
 * answer is one frame: byte 0 and (frame name, frame content) for each class; byte 1 and javac's messages for a compile
 * error; byte 2 and a reason where javac itself should be asked.
 *
 * <p>Each source gets a compiler of its own; only the file manager stays, which reads the platform's classes and the
 * class path and never sees a program's. Annotation processors do not run. Not guaranteed: that a source does not take
 * very long; whoever asks must be ready to end this process.
 */
public final class JavaCompiler {
    private static final List<String> OPTIONS = List.of("-proc:none", "-encoding", "UTF-8");
    /** How javac ends the messages of errors in the program; those of its own failures end otherwise. */
    private static final Pattern ERROR_COUNT = Pattern.compile("\\R\\d+ errors?\\R");
    private static final int ENDING = 400;
    private static final int MAX_REQUEST = 1 << 28;

    private final javax.tools.JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    private final List<File> classPath = new ArrayList<>();
    private StandardJavaFileManager platform;

    private JavaCompiler(String classPath) throws IOException {
        for (String path : classPath.split(File.pathSeparator)) {
            if (!path.isEmpty()) {
                this.classPath.add(new File(path));
            }
        }
        open();
    }

    public static void main(String[] arguments) throws IOException {
        DataInputStream requests = new DataInputStream(new FileInputStream(FileDescriptor.in));
        OutputStream answers = new FileOutputStream(FileDescriptor.out);
        System.setOut(System.err);
        JavaCompiler server = new JavaCompiler(arguments[0]);
        while (true) {
            byte[] name = readFrame(requests);
            if (name == null) {
                return;
            }
            byte[] source = readFrame(requests);
            answers.write(frame(server.answer(name, source)));
            answers.flush();
        }
    }

    private void open() throws IOException {
        platform = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8);
        platform.setLocation(StandardLocation.CLASS_PATH, classPath);
    }

    private byte[] answer(byte[] name, byte[] source) throws IOException {
        try {
            return compile(text(name), text(source));
        } catch (CharacterCodingException problem) {
            return unclear("the source is not UTF-8");
        } catch (Throwable problem) {
            // Whatever a source brings about in javac: out of stack, out of memory, an internal error.
            platform = null;
            open();
            return unclear(problem.getClass().getName());
        }
    }

    private byte[] compile(String name, String source) throws IOException {
        StringWriter messages = new StringWriter();
        Classes classes = new Classes(platform);
        CompilationTask task = compiler.getTask(messages, classes, null, OPTIONS, null, List.of(new Source(name, source)));
        boolean compiled = task.call();
        if (!compiled) {
            return errors(messages.toString());
        }
        ByteArrayOutputStream answer = new ByteArrayOutputStream();
        answer.write(0);
        for (Map.Entry<String, ByteArrayOutputStream> written : classes.written.entrySet()) {
            if (written.getKey().indexOf('/') >= 0) {
                return unclear("a class in a package");
            }
            answer.write(frame(written.getKey().getBytes(StandardCharsets.UTF_8)));
            answer.write(frame(written.getValue().toByteArray()));
        }
        return answer.toByteArray();
    }

    private static byte[] errors(String messages) throws IOException {
        String end = messages.substring(Math.max(0, messages.length() - ENDING));
        return ERROR_COUNT.matcher(end).find() ? answer(1, messages) : unclear(messages);
    }

    private static byte[] unclear(String reason) throws IOException {
        return answer(2, reason);
    }

    private static byte[] answer(int kind, String text) throws IOException {
        ByteArrayOutputStream answer = new ByteArrayOutputStream();
        answer.write(kind);
        answer.write(text.getBytes(StandardCharsets.UTF_8));
        return answer.toByteArray();
    }

    private static String text(byte[] bytes) throws CharacterCodingException {
        return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    }

    /** Null at the end of the stream. */
    private static byte[] readFrame(DataInputStream stream) throws IOException {
        byte[] length = stream.readNBytes(4);
        if (length.length == 0) {
            return null;
        }
        int size = ByteBuffer.wrap(length).order(ByteOrder.LITTLE_ENDIAN).getInt();
        if (size < 0 || size > MAX_REQUEST) {
            throw new IOException("a frame of " + size + " bytes");
        }
        byte[] content = stream.readNBytes(size);
        if (content.length < size) {
            throw new EOFException();
        }
        return content;
    }

    private static byte[] frame(byte[] content) {
        return ByteBuffer.allocate(4 + content.length).order(ByteOrder.LITTLE_ENDIAN).putInt(content.length).put(content).array();
    }

    /** A program's text under its file's name. */
    private static final class Source extends SimpleJavaFileObject {
        private final String name;
        private final String text;

        Source(String name, String text) {
            super(URI.create("memory:///" + name), Kind.SOURCE);
            this.name = name;
            this.text = text;
        }

        @Override
        public String getName() {
            return name;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return text;
        }
    }

    /** Takes what one compilation writes; everything else is the platform's. */
    private static final class Classes extends ForwardingJavaFileManager<JavaFileManager> {
        final Map<String, ByteArrayOutputStream> written = new LinkedHashMap<>();

        Classes(JavaFileManager platform) {
            super(platform);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(Location location, String name, JavaFileObject.Kind kind, FileObject source) {
            String file = name.replace('.', '/') + kind.extension;
            return new SimpleJavaFileObject(URI.create("memory:///class"), kind) {
                @Override
                public String getName() {
                    return file;
                }

                @Override
                public OutputStream openOutputStream() {
                    ByteArrayOutputStream content = new ByteArrayOutputStream();
                    written.put(file, content);
                    return content;
                }

                @Override
                public InputStream openInputStream() {
                    return new ByteArrayInputStream(written.get(file).toByteArray());
                }
            };
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
    }
}
