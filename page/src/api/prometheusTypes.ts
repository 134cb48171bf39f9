/**
 * The answers of Prometheus' HTTP API, as https://prometheus.io/docs/prometheus/latest/querying/api/ promises them.
 *
 * Samples' times are Unix seconds; their values are texts, since JSON has no word for `NaN`, `+Inf` and `-Inf`.
 */

export type LabelSet = Record<string, string>;

export interface Envelope<T> {
  status: 'success';
  data: T;
  warnings?: string[];
  infos?: string[];
}

export interface Refusal {
  status: 'error';
  errorType: string;
  error: string;
}

export type Sample = [time: number, value: string];

/** Rule 0 is open at its lower bound, 1 at its upper, 2 at both and 3 at neither. */
export type HistogramBucket = [rule: number, lower: string, upper: string, count: string];

export interface NativeHistogram {
  count: string;
  sum: string;
  /** Only those that hold something, by bound. */
  buckets?: HistogramBucket[];
}

export type HistogramSample = [time: number, histogram: NativeHistogram];

export interface RangeSeries {
  metric: LabelSet;
  values?: Sample[];
  histograms?: HistogramSample[];
}

export interface InstantSeries {
  metric: LabelSet;
  value?: Sample;
  histogram?: HistogramSample;
}

export interface QueryStats {
  timings: { execTotalTime: number };
}

export interface RangeResult {
  resultType: 'matrix';
  result: RangeSeries[];
  stats?: QueryStats;
}

export type InstantResult = (
  | { resultType: 'vector'; result: InstantSeries[] }
  | { resultType: 'matrix'; result: RangeSeries[] }
  | { resultType: 'scalar' | 'string'; result: Sample }
) & { stats?: QueryStats };

export interface Exemplar {
  labels: LabelSet;
  value: string;
  timestamp: number;
}

export interface ExemplarSeries {
  seriesLabels: LabelSet;
  exemplars: Exemplar[];
}

/** A query as a tree: of each kind of node, the parts this page looks at. */
export type QueryNode =
  | { type: 'vectorSelector' | 'matrixSelector'; name: string }
  | { type: 'parenExpr' | 'unaryExpr' | 'subquery'; expr: QueryNode }
  | { type: 'aggregation'; op: string; expr: QueryNode }
  | { type: 'call'; func: { name: string }; args: QueryNode[] }
  | { type: 'binaryExpr'; op: string; lhs: QueryNode; rhs: QueryNode; bool: boolean }
  | { type: 'numberLiteral' | 'stringLiteral'; val: string };

export type TargetHealth = 'up' | 'down' | 'unknown';

export interface Target {
  discoveredLabels: LabelSet;
  labels: LabelSet;
  scrapePool: string;
  scrapeUrl: string;
  globalUrl: string;
  /** Empty unless the last scrape failed. */
  lastError: string;
  /** RFC 3339; the year 1 before the first scrape. */
  lastScrape: string;
  /** Seconds. */
  lastScrapeDuration: number;
  health: TargetHealth;
  scrapeInterval: string;
  scrapeTimeout: string;
}

export interface DroppedTarget {
  discoveredLabels: LabelSet;
  scrapePool: string;
}

export interface Targets {
  activeTargets: Target[];
  droppedTargets: DroppedTarget[];
  /** By scrape pool; null unless dropped targets were asked for. There may be more than are listed. */
  droppedTargetCounts: Record<string, number> | null;
}

export interface ScrapePools {
  scrapePools: string[];
}
