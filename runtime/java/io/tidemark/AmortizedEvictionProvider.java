package io.tidemark;

import java.io.File;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.execution.streaming.state.ByteArrayPair;
import org.apache.spark.sql.execution.streaming.state.RocksDB;
import org.apache.spark.sql.execution.streaming.state.RocksDBConf;
import org.apache.spark.sql.execution.streaming.state.RocksDBEventForwarder;
import org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider;
import org.apache.spark.util.NextIterator;
import scala.Option;

/**
 * Spark's RocksDB state store, but for how often a stateful operator looks for rows that have expired.
 *
 * <p>At the end of each micro-batch Spark's operators go through all rows of the state and remove those that the
 * watermark has passed: a batch of a thousand events looks at millions of ids. Here such a look finds nothing until a
 * quarter as many rows were written as the last one left, so that a write pays for five rows looked at, at most, and
 * the state holds a quarter more than it must. Nothing else differs, neither in what is kept nor in its files: a
 * checkpoint can change between this provider and Spark's own at any start.
 *
 * <p>For operators that read all of the state only to remove from it: deduplication within the watermark, and
 * aggregation in update mode. Aggregation in append or complete mode gives what it finds as its result and must not
 * use this. The first look of a store is always whole, so that a reader of a checkpoint sees all of it.
 */
public final class AmortizedEvictionProvider extends RocksDBStateStoreProvider {

  @Override
  public RocksDB createRocksDB(
      String dfsRoot,
      RocksDBConf conf,
      File localRoot,
      Configuration hadoopConf,
      String loggingId,
      boolean useColumnFamilies,
      boolean withCheckpointIds,
      int partition,
      Option<RocksDBEventForwarder> events,
      Option<String> uniqueId) {
    return new AmortizedEviction(
        dfsRoot, conf, localRoot, hadoopConf, loggingId, useColumnFamilies, withCheckpointIds, partition, events,
        uniqueId);
  }

  /** One partition of one operator's state. Used by one task at a time, as all of Spark's are. */
  private static final class AmortizedEviction extends RocksDB {
    private static final int LEFT_PER_WRITE = 4;

    private long left = 0;
    private long written = 0;

    AmortizedEviction(
        String dfsRoot,
        RocksDBConf conf,
        File localRoot,
        Configuration hadoopConf,
        String loggingId,
        boolean useColumnFamilies,
        boolean withCheckpointIds,
        int partition,
        Option<RocksDBEventForwarder> events,
        Option<String> uniqueId) {
      super(
          dfsRoot, conf, localRoot, hadoopConf, loggingId, useColumnFamilies, withCheckpointIds, partition, events,
          uniqueId);
    }

    @Override
    public void put(byte[] key, byte[] value, String family, boolean includesPrefix, boolean derivesFamily) {
      written++;
      super.put(key, value, family, includesPrefix, derivesFamily);
    }

    @Override
    public void remove(byte[] key, String family, boolean includesPrefix, boolean derivesFamily) {
      left--;
      super.remove(key, family, includesPrefix, derivesFamily);
    }

    @Override
    public NextIterator<ByteArrayPair> iterator() {
      if (written * LEFT_PER_WRITE < left) {
        return new Nothing();
      }
      written = 0;
      left = 0;
      return new Counted(super.iterator());
    }

    /** All rows; how many there are is known at their end, less those that the operator removes on the way. */
    private final class Counted extends NextIterator<ByteArrayPair> {
      private final NextIterator<ByteArrayPair> rows;

      Counted(NextIterator<ByteArrayPair> rows) {
        this.rows = rows;
      }

      @Override
      public ByteArrayPair getNext() {
        if (!rows.hasNext()) {
          finished_$eq(true);
          return null;
        }
        left++;
        return rows.next();
      }

      @Override
      public void close() {
        rows.closeIfNeeded();
      }
    }

    private static final class Nothing extends NextIterator<ByteArrayPair> {
      @Override
      public ByteArrayPair getNext() {
        finished_$eq(true);
        return null;
      }

      @Override
      public void close() {}
    }
  }
}
