import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * The protocol of compilers that stay: requests on standard input, answers on standard output.
 *
 * <p>A frame is a length (4 bytes, little-endian) and that many bytes. A request is two frames, file name and source,
 * both UTF-8. An answer is one frame: byte 0 and (frame name, frame content) for each file; byte 1 and the compiler's
 * messages for an error in the program; byte 2 and a reason where the plain compiler should be asked; byte 3 and files as
 * after 0 where the program is known to do nothing but compute.
 *
 * <p>Not guaranteed: that a source does not take very long; whoever asks must be ready to end this process.
 */
final class CompileServer {
    private static final int MAX_REQUEST = 1 << 28;

    /** Compiles one source as if it were the first. */
    interface Compiler {
        /** An answer that {@link #files}, {@link #error} or {@link #unclear} makes; what it throws means unclear. */
        byte[] compile(String name, String source) throws Exception;

        /** Called after `compile` has thrown: nothing that it used may be used again. */
        void reset() throws IOException;
    }

    private CompileServer() {}

    /** Answer requests until standard input ends. */
    static void serve(Compiler compiler) throws IOException {
        DataInputStream requests = new DataInputStream(new FileInputStream(FileDescriptor.in));
        OutputStream answers = new FileOutputStream(FileDescriptor.out);
        System.setOut(System.err);
        while (true) {
            byte[] name = readFrame(requests);
            if (name == null) {
                return;
            }
            byte[] source = readFrame(requests);
            if (source == null) {
                throw new EOFException();
            }
            answers.write(frame(answer(compiler, name, source)));
            answers.flush();
        }
    }

    /** Compiled: the program's files. A file in a folder makes it unclear, as the folder would have to be made. */
    static byte[] files(Map<String, byte[]> files) throws IOException {
        ByteArrayOutputStream answer = new ByteArrayOutputStream();
        answer.write(0);
        for (Map.Entry<String, byte[]> file : files.entrySet()) {
            if (file.getKey().indexOf('/') >= 0) {
                return unclear("a class in a package");
            }
            answer.write(frame(file.getKey().getBytes(StandardCharsets.UTF_8)));
            answer.write(frame(file.getValue()));
        }
        return answer.toByteArray();
    }

    /** The program is in error. */
    static byte[] error(String messages) throws IOException {
        return text(1, messages);
    }

    /** Something else happened. */
    static byte[] unclear(String reason) throws IOException {
        return text(2, reason);
    }

    private static byte[] answer(Compiler compiler, byte[] name, byte[] source) throws IOException {
        try {
            return compiler.compile(decode(name), decode(source));
        } catch (CharacterCodingException problem) {
            return unclear("the source is not UTF-8");
        } catch (Throwable problem) {
            // Whatever a source brings about: out of stack, out of memory, an internal error.
            compiler.reset();
            return unclear(problem.toString());
        }
    }

    static byte[] text(int kind, String text) throws IOException {
        ByteArrayOutputStream answer = new ByteArrayOutputStream();
        answer.write(kind);
        answer.write(text.getBytes(StandardCharsets.UTF_8));
        return answer.toByteArray();
    }

    private static String decode(byte[] bytes) throws CharacterCodingException {
        return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    }

    /** Null at the end of the stream. */
    static byte[] readFrame(DataInputStream stream) throws IOException {
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

    static byte[] frame(byte[] content) {
        return ByteBuffer.allocate(4 + content.length).order(ByteOrder.LITTLE_ENDIAN).putInt(content.length).put(content).array();
    }
}
