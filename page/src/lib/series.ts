/** Samples made ready to be drawn as lines. */

import type { Grid } from '../api/prometheus';
import type { LabelSet, Sample } from '../api/prometheusTypes';

/** A sample's value as a number: infinities are written in words. */
export function toNumber(text: string): number {
  return /Inf$/i.test(text) ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text);
}

/** Which of a grid's moments a time in seconds is. */
export function placeOf(time: number, grid: Grid): number {
  return Math.round((time - grid.start) / grid.step);
}

/** A grid's moments, in seconds. */
export function timesOf(grid: Grid): number[] {
  return Array.from({ length: grid.count }, (_, i) => grid.start + i * grid.step);
}

/** A series' values at each of a grid's moments; null where there is no sample, or none that can be drawn. */
export function valuesOn(grid: Grid, samples: readonly Sample[]): (number | null)[] {
  const values = new Array<number | null>(grid.count).fill(null);
  for (const [time, text] of samples) {
    const value = toNumber(text);
    const place = placeOf(time, grid);
    if (Number.isFinite(value) && place >= 0 && place < grid.count) values[place] = value;
  }
  return values;
}

/** Each line on top of those before it; what is missing adds nothing, and hidden lines neither. */
export function stacked(
  lines: readonly (readonly (number | null)[])[],
  hidden: ReadonlySet<number>,
): (number | null)[][] {
  const below: number[] = [];
  return lines.map((line, i) => {
    if (hidden.has(i)) return line.map(() => null);
    return line.map((value, at) => {
      below[at] = (below[at] ?? 0) + (value ?? 0);
      return value === null ? null : below[at];
    });
  });
}

/** The places of values that have none beside them, and so would not be seen as a line. */
export function lonePlaces(values: readonly (number | null | undefined)[]): number[] {
  const lone: number[] = [];
  values.forEach((value, i) => {
    if (value != null && values[i - 1] == null && values[i + 1] == null) lone.push(i);
  });
  return lone;
}

/** The names of labels on which series differ; all of their labels when none does, as with a single one. */
export function tellingLabels(series: readonly LabelSet[]): string[] {
  const names = new Set(series.flatMap((labels) => Object.keys(labels)));
  const telling = [...names].filter((name) => new Set(series.map((labels) => labels[name])).size > 1);
  return telling.length > 0 ? telling : [...names];
}

/** What tells each series from the others shown: `route=/a  status=200`. */
export function seriesNames(series: readonly LabelSet[]): string[] {
  const telling = tellingLabels(series);
  return series.map((labels) =>
    telling
      .filter((name) => labels[name] !== undefined)
      .map((name) => (name === '__name__' ? labels[name] : `${name}=${labels[name]}`))
      .join('  '),
  );
}
