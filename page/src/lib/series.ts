/** Samples made ready to be drawn as lines. */

import type { Point, Series } from '../api/types';

/** One line per series over a common, ascending list of times; null where a series has no sample. */
export interface Lines {
  times: number[];
  values: (number | null)[][];
}

/** A sample's value as a number: the API writes NaN and infinities as strings. */
export function toNumber(value: number | string): number {
  if (typeof value === 'number') return value;
  if (/^[+]?Inf/i.test(value)) return Infinity;
  if (/^-Inf/i.test(value)) return -Infinity;
  return Number(value);
}

/**
 * A counter's increase per second between neighbouring samples, placed at the later of the two. A fall means that
 * the counter started anew from zero, so the whole of the new value is the increase.
 */
export function perSecond(points: readonly Point[]): Point[] {
  const rates: Point[] = [];
  for (let i = 1; i < points.length; i++) {
    const before = points[i - 1];
    const after = points[i];
    if (!before || !after || after[0] <= before[0]) continue;
    const from = toNumber(before[1]);
    const to = toNumber(after[1]);
    rates.push([after[0], (to >= from ? to - from : to) / (after[0] - before[0])]);
  }
  return rates;
}

/** Puts series whose samples were taken at different moments on one list of times. */
export function align(series: readonly (readonly Point[])[]): Lines {
  const times = [...new Set(series.flatMap((points) => points.map(([time]) => time)))].sort((a, b) => a - b);
  const place = new Map(times.map((time, i) => [time, i]));
  const values = series.map((points) => {
    const line = new Array<number | null>(times.length).fill(null);
    for (const [time, value] of points) {
      const number = toNumber(value);
      const i = place.get(time);
      if (i !== undefined && Number.isFinite(number)) line[i] = number;
    }
    return line;
  });
  return { times, values };
}

/** What tells a series from the others shown: the labels on which they differ, or all of them when alone. */
export function seriesNames(series: readonly Series[]): string[] {
  const names = new Set(series.flatMap((one) => Object.keys(one.labels)));
  const telling = [...names].filter((name) => new Set(series.map((one) => one.labels[name])).size > 1);
  const used = telling.length > 0 ? telling : [...names];
  return series.map((one) =>
    used
      .filter((name) => one.labels[name] !== undefined)
      .map((name) => `${name}=${one.labels[name]}`)
      .join('  '),
  );
}

/** Whether a metric only ever grows, by its type or, where that is unknown, by the names Prometheus gives such. */
export function isCounter(name: string, type: string): boolean {
  return type === 'counter' || /_(total|bucket|count|sum)$/.test(name);
}
