-- A segment's batches, one row each; the views of `sample_batches_intake` store what they hold.
INSERT INTO sample_batches_intake
SELECT
    metric, id, time, value, series, exemplars, histograms, metadata,
    {segment:UInt64} AS segment,
    {stored_days_samples:Array(Date)} AS stored_days_samples,
    {stored_days_exemplars:Array(Date)} AS stored_days_exemplars,
    {stored_days_native_histograms:Array(Date)} AS stored_days_native_histograms
FROM $source
