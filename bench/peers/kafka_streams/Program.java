import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.WindowStore;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Pipeline;

/**
 * Kafka Streams, two threads: windows updated in Redis with each commit, state in RocksDB with a changelog topic. The
 * records carry no key, so they are grouped by device through a repartition topic. What it is told and what it reports:
 * job.py.
 */
public final class Program {
    private static final long EVENTS = Long.parseLong(System.getenv("PEER_EVENTS"));
    private static final Path FOLDER = Path.of(System.getenv("PEER_FOLDER"));
    private static final long FLUSH_MS = (long) (Double.parseDouble(System.getenv("PEER_FLUSH_S")) * 1000);
    private static final AtomicLong FIRST = new AtomicLong();
    private static final AtomicLong AGGREGATED = new AtomicLong();

    public static final class Access {
        public String device_id;
        public Instant at;
        public long access_count;

        public void setTimestamp(String text) {
            at = Instant.parse(text);
        }
    }

    private static final class Held {
        long count;
        long sum;
        long least = Long.MAX_VALUE;
        long most = Long.MIN_VALUE;

        Held add(long value) {
            AGGREGATED.incrementAndGet();
            count++;
            sum += value;
            least = Math.min(least, value);
            most = Math.max(most, value);
            return this;
        }

        byte[] bytes() {
            return ByteBuffer.allocate(32).putLong(count).putLong(sum).putLong(least).putLong(most).array();
        }

        static Held of(byte[] bytes) {
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            Held held = new Held();
            held.count = buffer.getLong();
            held.sum = buffer.getLong();
            held.least = buffer.getLong();
            held.most = buffer.getLong();
            return held;
        }

        @Override
        public String toString() {
            return count + "," + sum + "," + least + "," + most + "," + (double) sum / count;
        }
    }

    private static final class ToRedis implements Processor<Windowed<String>, Held, Void, Void> {
        private final Jedis client = new Jedis(System.getenv("PEER_REDIS"));
        private final Map<String, Map<String, String>> changed = new HashMap<>();

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            context.schedule(Duration.ofMillis(100), PunctuationType.WALL_CLOCK_TIME, now -> flush());
        }

        @Override
        public void process(Record<Windowed<String>, Held> record) {
            String key = "peer:" + record.key().window().start() / 1000;
            changed.computeIfAbsent(key, each -> new HashMap<>()).put(record.key().key(), record.value().toString());
        }

        @Override
        public void close() {
            flush();
            client.close();
        }

        private void flush() {
            if (changed.isEmpty()) {
                return;
            }
            try (Pipeline pipeline = client.pipelined()) {
                changed.forEach((key, values) -> pipeline.hset(key, values));
            }
            changed.clear();
        }
    }

    public static void main(String[] arguments) throws Exception {
        try (KafkaStreams streams = new KafkaStreams(topology().build(), properties())) {
            streams.setUncaughtExceptionHandler(error -> {
                error.printStackTrace();
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            long quarter = EVENTS / 4;
            double atQuarter = 0;
            while (AGGREGATED.get() < EVENTS) {
                if (atQuarter == 0 && AGGREGATED.get() >= EVENTS / 4) {
                    quarter = AGGREGATED.get();
                    atQuarter = System.currentTimeMillis() / 1000.0;
                }
                if (streams.state() == KafkaStreams.State.ERROR) {
                    throw new IllegalStateException("the streams failed");
                }
                Thread.sleep(10);
            }
            streams.close(); // commits, and with it writes what the caches hold
            double last = System.currentTimeMillis() / 1000.0;
            String marks = String.format(
                    java.util.Locale.ROOT,
                    "{\"first\": %.3f, \"at_quarter\": %.3f, \"quarter\": %d, \"last\": %.3f}",
                    FIRST.get() / 1000.0, atQuarter, quarter, last);
            Files.writeString(FOLDER.resolve("marks.json"), marks);
        }
    }

    private static StreamsBuilder topology() {
        ObjectReader reader = new ObjectMapper()
                .configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false)
                .readerFor(Access.class);
        Serde<Access> json = Serdes.serdeFrom(
                (topic, value) -> {
                    throw new SerializationException("never written");
                },
                (topic, bytes) -> {
                    try {
                        return reader.readValue(bytes);
                    } catch (IOException error) {
                        throw new SerializationException(error);
                    }
                });
        Serde<Held> packed = Serdes.serdeFrom(
                (topic, held) -> held == null ? null : held.bytes(),
                (topic, bytes) -> bytes == null ? null : Held.of(bytes));
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(
                        System.getenv("PEER_TOPIC"),
                        Consumed.with(Serdes.ByteArray(), json).withTimestampExtractor((record, before) -> {
                            FIRST.compareAndSet(0, System.currentTimeMillis());
                            return ((Access) record.value()).at.toEpochMilli();
                        }))
                .map((key, access) -> KeyValue.pair(access.device_id, access.access_count))
                .groupByKey(Grouped.with(Serdes.String(), Serdes.Long()))
                .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(10), Duration.ofHours(1)))
                .aggregate(
                        Held::new,
                        (device, value, held) -> held.add(value),
                        Materialized.<String, Held, WindowStore<Bytes, byte[]>>as("windows")
                                .withKeySerde(Serdes.String())
                                .withValueSerde(packed))
                .toStream()
                .process(ToRedis::new);
        return builder;
    }

    private static Properties properties() {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, "kafka-streams-" + FOLDER.getFileName());
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("PEER_BOOTSTRAP"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, FOLDER.resolve("state").toString());
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, FLUSH_MS);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64 << 20);
        properties.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
        properties.put(StreamsConfig.producerPrefix("linger.ms"), Math.min(50, FLUSH_MS / 10));
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        return properties;
    }

    private Program() {}
}
