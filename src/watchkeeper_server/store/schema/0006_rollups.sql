-- What is left of samples once they are dropped: docs/decisions/0009-rollups.md says how it is made and read.

-- A row is what a series' samples in (bucket, bucket + 5 minutes] came to, stale markers left out; windows of PromQL are
-- open at the left, too. `lost` is the sum of the values from which a counter fell: the increase is last - first + lost.
CREATE TABLE IF NOT EXISTS rollups_5m (
    metric LowCardinality(String) CODEC(ZSTD(1)),
    id UInt64 CODEC(ZSTD(1)),
    bucket DateTime('UTC') CODEC(Delta, ZSTD(1)),
    count UInt32 CODEC(ZSTD(1)),
    sum Float64 CODEC(ZSTD(1)),
    min Float64 CODEC(ZSTD(1)),
    max Float64 CODEC(ZSTD(1)),
    first_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    first Float64 CODEC(ZSTD(1)),
    last_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    last Float64 CODEC(ZSTD(1)),
    lost Float64 CODEC(ZSTD(1)),
    -- the samples that stand for the bucket, by what is asked of them: one at its last sample's time, or those between
    -- which a gauge or a counter went where it went; a counter that fell does so again, from what it lost to 0
    lasts Array(Tuple(DateTime64(3, 'UTC'), Float64)) ALIAS [(last_time, last)],
    mins Array(Tuple(DateTime64(3, 'UTC'), Float64)) ALIAS [(last_time, min)],
    maxs Array(Tuple(DateTime64(3, 'UTC'), Float64)) ALIAS [(last_time, max)],
    sums Array(Tuple(DateTime64(3, 'UTC'), Float64)) ALIAS [(last_time, sum)],
    counts Array(Tuple(DateTime64(3, 'UTC'), Float64)) ALIAS [(last_time, toFloat64(count))],
    ends Array(Tuple(DateTime64(3, 'UTC'), Float64)) ALIAS if(count = 1, lasts, [(first_time, first), (last_time, last)]),
    counters Array(Tuple(DateTime64(3, 'UTC'), Float64)) ALIAS if(lost = 0 OR dateDiff('ms', first_time, last_time) < 3, ends, [
        (first_time, first), (first_time + toIntervalMillisecond(1), lost), (first_time + toIntervalMillisecond(2), 0.), (last_time, last)])
) ENGINE = MergeTree
-- as `samples` is, of which a partition is rolled up at a time
PARTITION BY if(toYear(bucket) < 2026, toStartOfYear(bucket), toDate(bucket))
ORDER BY (metric, id, bucket)
SETTINGS ttl_only_drop_parts = 1, $durable;

CREATE TABLE IF NOT EXISTS rollups_1h AS rollups_5m;

-- A partition on its way: it takes the place of the old one whole.
CREATE TABLE IF NOT EXISTS rollups_5m_new AS rollups_5m;

CREATE TABLE IF NOT EXISTS rollups_1h_new AS rollups_5m;

-- Which partitions of samples are rolled up, as of which block of them and of how many deletions; the greatest count.
CREATE TABLE IF NOT EXISTS rolled_up (
    day Date CODEC(ZSTD(1)),
    block UInt64 CODEC(ZSTD(1)),
    deletions UInt64 CODEC(ZSTD(1))
) ENGINE = MergeTree ORDER BY day
SETTINGS $durable;

-- How often something was deleted from a partition of samples. Parts do not tell: a deletion changes those of all partitions.
CREATE TABLE IF NOT EXISTS sample_deletions (
    day Date CODEC(ZSTD(1)),
    deletions UInt64 CODEC(ZSTD(1))
) ENGINE = SummingMergeTree ORDER BY day
SETTINGS $durable;
