import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * A member of a consumer group as Apache's own client makes it. It says on stdout what it gets ("got BODY") and which queues of the topic it
 * has whenever that changes ("has broker:0,broker:1", a lone "has" for none); it leaves the group when stdin ends.
 *
 * <p>Arguments: name servers, group, topic.
 */
public final class Member {
    private Member() {}

    /** Runs until stdin ends. */
    public static void main(String[] arguments) throws Exception {
        String topic = arguments[2];
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(arguments[1]);
        consumer.setNamesrvAddr(arguments[0]);
        consumer.setVipChannelEnabled(false);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(2);
        consumer.setConsumeThreadMax(2);
        consumer.setPersistConsumerOffsetInterval(1000);
        consumer.subscribe(topic, "*");
        // A constant of the listener's own type: both generations of the client have this method.
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                say("got " + new String(message.getBody(), StandardCharsets.UTF_8));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Thread watcher = new Thread(() -> watch(consumer, topic));
        watcher.setDaemon(true);
        watcher.start();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        while (commands.readLine() != null) {
            // There are none: only the end counts.
        }
        consumer.shutdown();
        System.exit(0);
    }

    private static void watch(DefaultMQPushConsumer consumer, String topic) {
        String last = null;
        while (true) {
            TreeSet<String> queues = new TreeSet<>();
            for (MessageQueue queue : List.copyOf(consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet())) {
                if (queue.getTopic().equals(topic)) {
                    queues.add(queue.getBrokerName() + ":" + queue.getQueueId());
                }
            }
            String now = "has " + String.join(",", queues);
            if (!now.equals(last)) {
                say(now);
                last = now;
            }
            try {
                Thread.sleep(100);
            } catch (InterruptedException end) {
                return;
            }
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
    }
}
