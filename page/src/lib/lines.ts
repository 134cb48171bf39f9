/** The lines of a chart, and the exemplars beside them. */

import type { Grid } from '../api/prometheus';
import type { ExemplarSeries, LabelSet } from '../api/prometheusTypes';
import { formatValue } from './format';
import type { QueryRun, RangeAnswer } from './queryRun.svelte';
import { seriesNames, toNumber, valuesOn } from './series';
import { unitOfName, type Unit } from './units';

/** More lines than this cannot be told apart, nor drawn quickly. */
export const MOST_LINES = 200;
const COLOURS = 12;

export interface Line {
  /** Of its query. */
  letter: string;
  name: string;
  labels: LabelSet;
  values: (number | null)[];
  unit: Unit;
  /** A CSS variable's name. */
  colour: string;
}

/** The lines of one query; a series with no labels left is named as the query. */
export function linesOf(letter: string, answer: RangeAnswer, unit: Unit, grid: Grid, first: number): Line[] {
  const drawn = answer.result.filter((series) => series.values).slice(0, Math.max(0, MOST_LINES - first));
  const names = seriesNames(drawn.map((series) => series.metric));
  return drawn.map((series, i) => ({
    letter,
    name: names[i] || answer.expr,
    labels: series.metric,
    values: valuesOn(grid, series.values ?? []),
    // Where the series keep their names, these tell most.
    unit: series.metric['__name__'] ? unitOfName(series.metric['__name__']) : unit,
    colour: `--series-${(first + i) % COLOURS}`,
  }));
}

/** A line's value in words. */
export function lineValue(line: Line, place: number | null): string {
  const value = place === null ? line.values.findLast((one) => one !== null) : line.values[place];
  return value === null || value === undefined
    ? '–'
    : formatValue(value, line.unit.unit, line.unit.perSecond);
}

/** The unit all lines share, so that an axis can show it; null when they differ. */
export function sharedUnit(lines: readonly Line[]): Unit | null {
  const [first] = lines;
  const same = lines.every(
    ({ unit }) => unit.unit === first?.unit.unit && unit.perSecond === first.unit.perSecond,
  );
  return first && same ? first.unit : null;
}

export interface Dot {
  /** Unix seconds. */
  time: number;
  value: number;
  text: string;
  traceId: string;
  labels: LabelSet;
  /** Whether its value belongs on the lines' axis: what was measured does, the step of a counter does not. */
  onScale: boolean;
}

const TRACE_LABELS = ['trace_id', 'traceID', 'traceId'];
/** More than this would cover each other: the largest values are kept. */
const MOST_DOTS = 300;

/** A query's exemplars that name a trace. */
export function dotsOf(series: readonly ExemplarSeries[], run: QueryRun): Dot[] {
  const { unit } = run;
  const onScale = unit.unit !== '' && !unit.perSecond;
  const dots = series.flatMap(({ seriesLabels, exemplars }) =>
    exemplars.flatMap(({ labels, value, timestamp }): Dot[] => {
      const traceId = TRACE_LABELS.map((name) => labels[name]).find(Boolean);
      if (!traceId) return [];
      const number = toNumber(value);
      const text = onScale ? formatValue(number, unit.unit) : value;
      return [{ time: timestamp, value: number, text, traceId, labels: seriesLabels, onScale }];
    }),
  );
  return dots.sort((a, b) => b.value - a.value).slice(0, MOST_DOTS);
}
