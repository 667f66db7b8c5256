import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.StringWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
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
 * <p>Started as {@code JavaCompiler CLASS_PATH}; see {@link CompileServer} for what it reads and writes. Each source
 * gets a compiler of its own; only the file manager stays, which reads the platform's classes and the class path and
 * never sees a program's. Annotation processors do not run. What is compiled is looked through (see {@link PureClasses}),
 * here where no program runs; why a program may do more than compute is told on standard error.
 */
public final class JavaCompiler implements CompileServer.Compiler {
    private static final List<String> OPTIONS = List.of("-proc:none", "-encoding", "UTF-8");
    /** How javac ends the messages of errors in the program; those of its own failures end otherwise. */
    private static final Pattern ERROR_COUNT = Pattern.compile("\\R\\d+ errors?\\R");
    private static final int ENDING = 400;

    private final javax.tools.JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    private final List<File> classPath = new ArrayList<>();
    private final PureClasses pure = new PureClasses();
    private StandardJavaFileManager platform;
    /** What packages of the platform and the class path hold, which takes a third of a compilation to find out. */
    private final Map<List<Object>, List<JavaFileObject>> packages = new HashMap<>();

    private JavaCompiler(String classPath) throws IOException {
        for (String path : classPath.split(File.pathSeparator)) {
            if (!path.isEmpty()) {
                this.classPath.add(new File(path));
            }
        }
        reset();
    }

    public static void main(String[] arguments) throws IOException {
        CompileServer.serve(new JavaCompiler(arguments[0]));
    }

    @Override
    public void reset() throws IOException {
        platform = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8);
        platform.setLocation(StandardLocation.CLASS_PATH, classPath);
        packages.clear();
    }

    @Override
    public byte[] compile(String name, String source) throws IOException {
        StringWriter messages = new StringWriter();
        Classes classes = new Classes(platform);
        CompilationTask task = compiler.getTask(messages, classes, null, OPTIONS, null, List.of(new Source(name, source)));
        return task.call() ? compiled(classes.content()) : failed(messages.toString());
    }

    private byte[] compiled(Map<String, byte[]> files) throws IOException {
        byte[] answer = CompileServer.files(files);
        String why = answer[0] == 0 ? pure.whyNot(files) : "no answer";
        if (why == null) {
            answer[0] = 3;
        } else {
            System.err.println(why);
        }
        return answer;
    }

    private byte[] failed(String messages) throws IOException {
        String end = messages.substring(Math.max(0, messages.length() - ENDING));
        if (ERROR_COUNT.matcher(end).find()) {
            return CompileServer.error(messages);
        }
        reset();
        return CompileServer.unclear(messages);
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
    private final class Classes extends ForwardingJavaFileManager<JavaFileManager> {
        private final Map<String, ByteArrayOutputStream> written = new LinkedHashMap<>();

        Classes(JavaFileManager platform) {
            super(platform);
        }

        Map<String, byte[]> content() {
            Map<String, byte[]> content = new LinkedHashMap<>();
            written.forEach((file, bytes) -> content.put(file, bytes.toByteArray()));
            return content;
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
        public Iterable<JavaFileObject> list(Location location, String name, Set<JavaFileObject.Kind> kinds, boolean deep)
            throws IOException {
            List<Object> key = List.of(location, name, Set.copyOf(kinds), deep);
            List<JavaFileObject> found = packages.get(key);
            if (found == null) {
                found = new ArrayList<>();
                super.list(location, name, kinds, deep).forEach(found::add);
                if (!found.isEmpty()) {
                    packages.put(key, found);
                }
            }
            return found;
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
    }
}
