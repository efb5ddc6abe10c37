import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

/**
 * Sends as fast as Apache's own client does, one message after the other in each of so many threads. Each line of stdin is a round, "threads
 * milliseconds bytes"; the answer is the number of messages sent and the nanoseconds that it took.
 *
 * <p>Arguments: name servers, topic, perhaps "compress".
 */
public final class Send {
    private Send() {}

    /** Runs until stdin ends. */
    public static void main(String[] arguments) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("java_bench");
        producer.setNamesrvAddr(arguments[0]);
        producer.setVipChannelEnabled(false);
        // The other client does not compress, so that nothing is compared but sending.
        boolean compress = arguments.length > 2 && arguments[2].equals("compress");
        producer.setCompressMsgBodyOverHowmuch(compress ? 1024 : Integer.MAX_VALUE);
        producer.start();
        System.out.println("ready");
        BufferedReader rounds = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String round = rounds.readLine(); round != null; round = rounds.readLine()) {
            String[] numbers = round.split(" ");
            System.out.println(round(producer, arguments[1], Integer.parseInt(numbers[0]), Long.parseLong(numbers[1]), Integer.parseInt(numbers[2])));
        }
        producer.shutdown();
        System.exit(0);
    }

    private static String round(DefaultMQProducer producer, String topic, int threads, long millis, int bytes) throws InterruptedException {
        byte[] body = new byte[bytes];
        Arrays.fill(body, (byte) 'x');
        AtomicLong sent = new AtomicLong();
        AtomicReference<Exception> failed = new AtomicReference<>();
        CountDownLatch done = new CountDownLatch(threads);
        long begun = System.nanoTime();
        long end = begun + millis * 1_000_000;
        for (int thread = 0; thread < threads; thread++) {
            new Thread(() -> {
                long own = 0;
                try {
                    while (System.nanoTime() < end) {
                        producer.send(new Message(topic, body));
                        own++;
                    }
                } catch (Exception error) {
                    failed.set(error);
                }
                sent.addAndGet(own);
                done.countDown();
            }).start();
        }
        done.await();
        if (failed.get() != null) {
            return "failed " + failed.get();
        }
        return sent.get() + " " + (System.nanoTime() - begun);
    }
}
