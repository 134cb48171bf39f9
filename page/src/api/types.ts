/**
 * The JSON API's answers, as `docs/api.md` promises them.
 *
 * Times are RFC 3339 in UTC with nanoseconds; names ending in `_ns` are whole nanoseconds; ids are lower-case hex.
 * `npm run types` writes the server's own account (`openapi.ts`) to compare this one with.
 */

export type AttributeValue =
  string | number | boolean | null | AttributeValue[] | { [key: string]: AttributeValue };

export type Attributes = Record<string, AttributeValue>;

/** Point i of every list covers `start + i * step_seconds` onwards. */
export interface Trend {
  start: string;
  step_seconds: number;
  requests: number[];
  errors: number[];
  p95_ns: (number | null)[];
}

export interface Service {
  name: string;
  requests: number;
  errors: number;
  rate_per_second: number;
  error_ratio: number;
  p50_ns: number | null;
  p95_ns: number | null;
  p99_ns: number | null;
  spans: number;
  log_records: number;
  log_errors: number;
  last_seen: string | null;
  trend: Trend;
}

export interface Services {
  start: string;
  end: string;
  services: Service[];
}

export interface Operation {
  name: string;
  kind: string;
  requests: number;
  errors: number;
  rate_per_second: number;
  error_ratio: number;
  p50_ns: number;
  p95_ns: number;
  p99_ns: number;
}

export interface Operations {
  service: string;
  operations: Operation[];
}

export interface ServiceShare {
  name: string;
  spans: number;
  errors: number;
}

export interface TraceSummary {
  trace_id: string;
  start: string;
  duration_ns: number;
  service: string;
  operation: string;
  root_missing: boolean;
  spans: number;
  errors: number;
  services: ServiceShare[];
}

export interface Traces {
  traces: TraceSummary[];
  next: string | null;
}

export interface Scope {
  name: string;
  version: string;
  attributes: Attributes;
  schema_url: string;
  dropped_attributes_count: number;
}

export interface Resource {
  attributes: Attributes;
  schema_url: string;
  dropped_attributes_count: number;
}

export interface SpanEvent {
  time: string;
  offset_ns: number;
  name: string;
  attributes: Attributes;
  dropped_attributes_count: number;
}

export interface SpanLink {
  trace_id: string;
  span_id: string;
  trace_state: string;
  flags: number;
  attributes: Attributes;
  dropped_attributes_count: number;
}

export interface Status {
  code: string;
  message: string;
}

export interface Span {
  trace_id: string;
  span_id: string;
  parent_span_id: string | null;
  name: string;
  kind: string;
  service: string;
  start: string;
  end: string;
  offset_ns: number;
  duration_ns: number;
  status: Status;
  attributes: Attributes;
  events: SpanEvent[];
  links: SpanLink[];
  scope: Scope;
  /** A key of the trace's `resources`. */
  resource: string;
  trace_state: string;
  flags: number;
  dropped_attributes_count: number;
  dropped_events_count: number;
  dropped_links_count: number;
}

export interface LogRecord {
  time: string;
  observed_time: string | null;
  severity: string;
  severity_number: number;
  severity_text: string;
  service: string;
  body: AttributeValue;
  event_name: string;
  trace_id: string | null;
  span_id: string | null;
  flags: number;
  attributes: Attributes;
  dropped_attributes_count: number;
  scope: Scope;
  resource: Resource;
}

/** Spans by start time, parents before children. */
export interface Trace {
  trace_id: string;
  start: string;
  duration_ns: number;
  services: ServiceShare[];
  spans: Span[];
  resources: Record<string, Resource>;
  logs: LogRecord[];
}

export interface Logs {
  logs: LogRecord[];
  next: string | null;
}

/** `counts[severity][i]` covers `start + i * step_seconds` onwards. */
export interface LogCounts {
  start: string;
  end: string;
  step_seconds: number;
  counts: Record<string, number[]>;
  total: number;
}

export interface Metric {
  name: string;
  type: string;
  unit: string;
  help: string;
  series: number;
}

export interface Metrics {
  metrics: Metric[];
}

export interface Labels {
  metric: string;
  labels: Record<string, string[]>;
}

export interface SignalStatus {
  received: number;
  rejected: number;
  loaded: number;
  backlog_bytes: number;
  backlog_age_seconds: number;
}

export interface ServerStatus {
  version: string;
  started: string;
  ready: boolean;
  signals: Record<string, SignalStatus>;
  quarantined: number;
  private_bytes: number;
  resident_bytes: number;
}

export interface Problem {
  error: string;
  message: string;
  field: string | null;
}
