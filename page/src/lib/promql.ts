/** PromQL written by the page: selectors, the queries that suit a metric, and what links of other pages ask for. */

import type { Metric } from '../api/types';

export type Matcher = [label: string, value: string];

export interface Suggestion {
  label: string;
  query: string;
}

const PLAIN_METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const PLAIN_LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** A label's name as a query writes it. */
function labelName(name: string): string {
  return PLAIN_LABEL.test(name) ? name : JSON.stringify(name);
}

/** How many series have each value of a label. */
export function countBy(label: string, series: string): string {
  return `count by (${labelName(label)}) (${series})`;
}

/** Selects a metric's series; names beyond letters, digits and `_` are quoted, as Prometheus 3 wants them. */
export function selector(metric: string, matchers: readonly Matcher[] = []): string {
  const conditions = matchers.map(([label, value]) => `${labelName(label)}=${JSON.stringify(value)}`);
  if (!PLAIN_METRIC.test(metric)) return `{${[JSON.stringify(metric), ...conditions].join(', ')}}`;
  return conditions.length > 0 ? `${metric}{${conditions.join(', ')}}` : metric;
}

/** The name of one of the metrics of a family, whose labels tell its series apart. */
export function memberName(metric: MetricFamily): string {
  return metric.shape === 'classic' ? `${metric.name}_bucket` : metric.name;
}

/** The queries that suit a metric's type, the most useful first. */
export function suggestions(metric: MetricFamily, matchers: readonly Matcher[] = []): Suggestion[] {
  const series = (suffix = ''): string => selector(metric.name + suffix, matchers);
  const rate = (suffix = ''): string => `rate(${series(suffix)}[5m])`;
  if (metric.shape === 'classic') {
    return [
      { label: 'p95', query: `histogram_quantile(0.95, sum by (le) (${rate('_bucket')}))` },
      { label: 'heatmap', query: `sum by (le) (${rate('_bucket')})` },
      { label: 'average', query: `${rate('_sum')} / ${rate('_count')}` },
      { label: 'rate', query: rate('_count') },
    ];
  }
  if (metric.shape === 'native') {
    return [
      { label: 'p95', query: `histogram_quantile(0.95, sum(${rate()}))` },
      { label: 'heatmap', query: `sum(${rate()})` },
      { label: 'average', query: `histogram_avg(${rate()})` },
      { label: 'rate', query: `histogram_count(${rate()})` },
    ];
  }
  if (metric.shape === 'summary') {
    return [
      { label: 'quantiles', query: series() },
      { label: 'average', query: `${rate('_sum')} / ${rate('_count')}` },
      { label: 'rate', query: rate('_count') },
    ];
  }
  if (metric.shape === 'counter') {
    return [
      { label: 'rate', query: rate() },
      { label: 'increase', query: `increase(${series()}[1h])` },
      { label: 'total', query: series() },
    ];
  }
  return [
    { label: 'value', query: series() },
    { label: 'sum', query: `sum(${series()})` },
    { label: 'maximum', query: `max(${series()})` },
  ];
}

/** A metric with what belongs to it: the buckets, count and sum of a histogram or summary are one family. */
export interface MetricFamily extends Metric {
  shape: 'counter' | 'gauge' | 'classic' | 'native' | 'summary';
}

const PART = /_(bucket|count|sum)$/;

/** The metrics, by name, those of one histogram or summary made one with all of their series. */
export function families(metrics: readonly Metric[]): MetricFamily[] {
  const found = new Map<string, MetricFamily>();
  for (const metric of metrics) {
    const part = metric.type === 'histogram' || metric.type === 'summary' ? PART.exec(metric.name) : null;
    const name = part ? metric.name.slice(0, part.index) : metric.name;
    const known = found.get(name);
    const shape = shapeOf(metric, part?.[1]);
    if (!known) found.set(name, { ...metric, name, shape });
    else
      found.set(name, {
        ...known,
        series: known.series + metric.series,
        shape: stronger(known.shape, shape),
      });
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function shapeOf(metric: Metric, part: string | undefined): MetricFamily['shape'] {
  if (metric.type === 'histogram') return part ? 'classic' : 'native';
  if (metric.type === 'summary') return 'summary';
  return metric.type === 'counter' ||
    (metric.type === 'unknown' && /_(total|bucket|count|sum)$/.test(metric.name))
    ? 'counter'
    : 'gauge';
}

/** A histogram scraped in both forms is asked by its native one. */
function stronger(a: MetricFamily['shape'], b: MetricFamily['shape']): MetricFamily['shape'] {
  return a === 'native' || b === 'native' ? 'native' : a;
}

export interface ErrorPlace {
  /** Where in the query, in UTF-16 units as editors count. */
  from: number;
  to: number;
  /** The same in the server's words: `LINE:COLUMN`. */
  place: string;
  message: string;
}

/** Where a query is wrong, from the server's `LINE:COLUMN: parse error: …`; null when its message names no place. */
export function errorPlace(query: string, text: string): ErrorPlace | null {
  const match = /(\d+):(\d+): parse error: ([^]*)$/.exec(text);
  if (!match) return null;
  const lines = query.split('\n').slice(0, Number(match[1]));
  const line = lines.pop() ?? '';
  const before = lines.reduce((sum, one) => sum + one.length + 1, 0);
  // The server counts characters, of which some are two units here.
  const column = [...line].slice(0, Number(match[2]) - 1).join('').length;
  const from = Math.min(before + column, Math.max(0, query.length - 1));
  const word = /^(\w+|"[^"]*"?|'[^']*'?)/.exec(query.slice(from));
  return {
    from,
    to: from + Math.max(1, word?.[0].length ?? 1),
    place: `${match[1]}:${match[2]}`,
    message: match[3] ?? text,
  };
}

/** A server's refusal of a query without the name of the parameter it came in. */
export function queryError(text: string): string {
  return text.replace(/^invalid parameter "query": /, '');
}

/** The page's address for an older one: of a single metric's series, or of Prometheus' own page; null for any other. */
export function exploreQuery(path: string, query: URLSearchParams): Record<string, string | string[]> | null {
  if (path === '/metrics') {
    const metric = query.get('metric');
    if (!metric) return {};
    const matchers = query.getAll('label').map((text): Matcher => {
      const at = text.indexOf('=');
      return [text.slice(0, at), text.slice(at + 1)];
    });
    const series = selector(metric, matchers);
    return { q: query.get('rate') === 'on' ? `rate(${series}[5m])` : series };
  }
  if (path === '/graph' || path === '/query') {
    const asked = [...query.entries()].filter(([name, value]) => /^g\d+\.expr$/.test(name) && value !== '');
    const table = query.get('g0.tab') === (path === '/graph' ? '1' : 'table');
    return {
      q: asked.map(([, value]) => value),
      range: query.get('g0.range_input') ?? '',
      tab: table ? 'table' : '',
    };
  }
  return null;
}
