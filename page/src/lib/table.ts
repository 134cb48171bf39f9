/** An instant query's result as rows. */

import type { InstantResult, InstantSeries, LabelSet, RangeSeries } from '../api/prometheusTypes';
import { formatNumber } from './format';
import { toNumber } from './series';

export interface Row {
  labels: LabelSet;
  /** What it is sorted by; null for a text. */
  value: number | null;
  /** The value to the last digit. */
  text: string;
  /** What else there is to say of it. */
  note: string;
}

export function rowsOf(answer: InstantResult): Row[] {
  switch (answer.resultType) {
    case 'vector':
      return answer.result.map(vectorRow);
    case 'matrix':
      return answer.result.map(matrixRow);
    case 'scalar':
      return [floatRow({}, answer.result[1])];
    case 'string':
      return [{ labels: {}, value: null, text: answer.result[1], note: '' }];
  }
}

function floatRow(labels: LabelSet, text: string, note = ''): Row {
  return { labels, value: toNumber(text), text, note };
}

function vectorRow({ metric, value, histogram }: InstantSeries): Row {
  if (!histogram) return floatRow(metric, value?.[1] ?? 'NaN');
  const [, { count, sum, buckets }] = histogram;
  const note = `observed, sum ${formatNumber(toNumber(sum))}, in ${buckets?.length ?? 0} buckets`;
  return floatRow(metric, count, note);
}

function matrixRow({ metric, values, histograms }: RangeSeries): Row {
  const count = (values?.length ?? 0) + (histograms?.length ?? 0);
  const last = values?.at(-1)?.[1] ?? histograms?.at(-1)?.[1].count ?? 'NaN';
  return floatRow(metric, last, `newest of ${count} samples`);
}

/** Labels that all rows have alike, where there are several: said once, they need no column. */
export function commonLabels(rows: readonly Row[]): [string, string][] {
  const [first, ...others] = rows;
  if (!first || others.length === 0) return [];
  return Object.entries(first.labels).filter(([name, value]) =>
    others.every(({ labels }) => labels[name] === value),
  );
}
