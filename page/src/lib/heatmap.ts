/** Histograms over time, classic or native, as cells between bounds. */

import type { Grid } from '../api/prometheus';
import type { RangeSeries } from '../api/prometheusTypes';
import { placeOf, toNumber } from './series';

export interface Cell {
  /** Which of the grid's moments. */
  place: number;
  /** Between which of the bounds: their indexes. */
  low: number;
  high: number;
  count: number;
}

export interface Heat {
  /** Ascending; the first and the last may be infinite. */
  bounds: number[];
  cells: Cell[];
  /** The largest count. */
  top: number;
}

interface Bucket {
  place: number;
  lower: number;
  upper: number;
  count: number;
}

/** Whether a result is a histogram: native ones only, or classic buckets with more than one bound. */
export function isHistogram(series: readonly RangeSeries[]): boolean {
  if (series.length === 0) return false;
  if (series.every((one) => one.histograms && !one.values)) return true;
  const bounds = new Set(series.map((one) => one.metric['le']));
  return bounds.size > 1 && !bounds.has(undefined);
}

/** The cells of all series of a histogram taken together. */
export function heatOf(series: readonly RangeSeries[], grid: Grid): Heat {
  const buckets = series.some((one) => one.histograms)
    ? nativeBuckets(series, grid)
    : classicBuckets(series, grid);
  const bounds = [...new Set(buckets.flatMap(({ lower, upper }) => [lower, upper]))].sort((a, b) => a - b);
  const indexOf = new Map(bounds.map((bound, i) => [bound, i]));
  const sums = new Map<string, Cell>();
  for (const { place, lower, upper, count } of buckets) {
    const low = indexOf.get(lower) ?? 0;
    const high = indexOf.get(upper) ?? low;
    const key = `${place} ${low} ${high}`;
    const cell = sums.get(key) ?? { place, low, high, count: 0 };
    cell.count += count;
    sums.set(key, cell);
  }
  const cells = [...sums.values()].filter((cell) => cell.count > 0);
  return { bounds, cells, top: cells.reduce((most, cell) => Math.max(most, cell.count), 0) };
}

function nativeBuckets(series: readonly RangeSeries[], grid: Grid): Bucket[] {
  return series.flatMap((one) =>
    (one.histograms ?? []).flatMap(([time, histogram]) =>
      (histogram.buckets ?? []).map(([, lower, upper, count]) => ({
        place: placeOf(time, grid),
        lower: toNumber(lower),
        upper: toNumber(upper),
        count: toNumber(count),
      })),
    ),
  );
}

/** Classic buckets count all up to their bound: each less the one before it. */
function classicBuckets(series: readonly RangeSeries[], grid: Grid): Bucket[] {
  const upTo = new Map<number, number[]>();
  for (const { metric, values } of series) {
    const bound = toNumber(metric['le'] ?? '');
    if (Number.isNaN(bound)) continue;
    const sums = upTo.get(bound) ?? new Array<number>(grid.count).fill(0);
    for (const [time, text] of values ?? []) {
      const place = placeOf(time, grid);
      const value = toNumber(text);
      if (Number.isFinite(value) && place in sums) sums[place] = (sums[place] ?? 0) + value;
    }
    upTo.set(bound, sums);
  }
  const bounds = [...upTo.keys()].sort((a, b) => a - b);
  return bounds.flatMap((upper, i) => {
    const below = upTo.get(bounds[i - 1] ?? NaN);
    const lower = bounds[i - 1] ?? (upper > 0 ? 0 : -Infinity);
    return (upTo.get(upper) ?? []).map((sum, place) => ({
      place,
      lower,
      upper,
      count: Math.max(0, sum - (below?.[place] ?? 0)),
    }));
  });
}
