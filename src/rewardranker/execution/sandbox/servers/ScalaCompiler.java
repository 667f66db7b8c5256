import java.io.BufferedReader;
import java.io.PrintWriter;
import java.io.StringReader;
import java.io.StringWriter;
import java.util.LinkedHashMap;
import java.util.Map;
import scala.Option;
import scala.collection.Iterator;
import scala.collection.immutable.List;
import scala.collection.immutable.List$;
import scala.reflect.internal.util.BatchSourceFile;
import scala.reflect.internal.util.SourceFile;
import scala.reflect.io.AbstractFile;
import scala.reflect.io.VirtualDirectory;
import scala.reflect.io.VirtualFile;
import scala.tools.nsc.Global;
import scala.tools.nsc.Settings;
import scala.tools.nsc.reporters.ConsoleReporter;

/**
 * scalac that stays: compiles one source after the other, without files, in a virtual machine that is warm.
 *
 * <p>Started as {@code ScalaCompiler CLASS_PATH}; see {@link CompileServer} for what it reads and writes. Each source
 * gets a compiler of its own ({@code Global}), with symbols of its own: nothing of a program stays.
 */
public final class ScalaCompiler implements CompileServer.Compiler {
    private final String classPath;

    private ScalaCompiler(String classPath) {
        this.classPath = classPath;
    }

    public static void main(String[] arguments) throws Exception {
        CompileServer.serve(new ScalaCompiler(arguments[0]));
    }

    @Override
    public void reset() {}

    @Override
    public byte[] compile(String name, String source) throws Exception {
        StringWriter messages = new StringWriter();
        Settings settings = new Settings();
        settings.processArgumentString("-bootclasspath " + classPath + " -classpath " + classPath);
        VirtualDirectory output = new VirtualDirectory("(memory)", Option.empty());
        settings.outputDirs().setSingleOutput(output);
        PrintWriter writer = new PrintWriter(messages);
        ConsoleReporter reporter = new ConsoleReporter(settings, new BufferedReader(new StringReader("")), writer);
        Global compiler = new Global(settings, reporter);
        SourceFile file = new BatchSourceFile(new VirtualFile(name), source.toCharArray());
        List<SourceFile> files = List$.MODULE$.<SourceFile>empty().$colon$colon(file);
        compiler.new Run().compileSources(files);
        if (!reporter.hasErrors()) {
            Map<String, byte[]> classes = new LinkedHashMap<>();
            collect(output, "", classes);
            return CompileServer.files(classes);
        }
        reporter.printSummary();
        writer.flush();
        return CompileServer.error(messages.toString());
    }

    private static void collect(AbstractFile folder, String path, Map<String, byte[]> files) throws Exception {
        for (Iterator<AbstractFile> each = folder.iterator(); each.hasNext(); ) {
            AbstractFile file = each.next();
            if (file.isDirectory()) {
                collect(file, path + file.name() + "/", files);
            } else {
                files.put(path + file.name(), file.toByteArray());
            }
        }
    }
}
