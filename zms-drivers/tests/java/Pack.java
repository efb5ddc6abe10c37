import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.compression.CompressorFactory;

/**
 * Packs a body as Apache's own producer does, by each of its methods. The files are golden: unit tests read them. Run by hand for a new version:
 * {@code java -cp '<jars of the package>/*' zms-drivers/tests/java/Pack.java zms-drivers/tests/golden/rocketmq-java}.
 */
public final class Pack {
    private Pack() {}

    /** Writes the body, and one file a method. */
    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        byte[] body = body();
        Files.write(folder.resolve("body.plain"), body);
        for (CompressionType type : CompressionType.values()) {
            byte[] packed = CompressorFactory.getCompressor(type).compress(body, 5);
            Files.write(folder.resolve("body." + type.name().toLowerCase()), packed);
        }
    }

    /** What repeats itself, and in its middle what cannot be packed: a block of each kind. */
    private static byte[] body() throws Exception {
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        for (int number = 0; number < 400; number++) {
            body.write(("order " + number + ", ").getBytes(StandardCharsets.UTF_8));
            if (number == 200) {
                byte[] noise = new byte[1000];
                new Random(7).nextBytes(noise);
                body.write(noise);
            }
        }
        return body.toByteArray();
    }
}
