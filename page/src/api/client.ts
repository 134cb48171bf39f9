/** The JSON API as functions: each takes its parameters and a signal, and rejects with `ApiError` only. */

import type { Refusal } from './prometheusTypes';
import type {
  Labels,
  LogCounts,
  Logs,
  Metrics,
  Operations,
  Problem,
  ServerStatus,
  Services,
  Trace,
  Traces,
} from './types';

/** An absolute range, in milliseconds since the epoch. */
export interface Window {
  start: number;
  end: number;
}

export interface TraceFilter {
  service: string;
  operation: string;
  min_duration: string;
  max_duration: string;
  status: string;
  attribute: string[];
}

export interface LogFilter {
  service: string;
  level: string;
  trace_id: string;
  span_id: string;
  words: string;
}

type Parameter = string | number | string[] | null | undefined;

/** A request that got no answer (`status` 0) or was refused, in the server's own words where it gave some. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly field: string | null = null,
  ) {
    super(message);
  }
}

const BASE = '/api/wk';

let inFlight = 0;

/** Whether any request is waiting for its answer: automatic refreshing holds back until none is. */
export function isBusy(): boolean {
  return inFlight > 0;
}

/** A query string of the parameters that have a value; a list becomes a repeated parameter. */
export function queryString(parameters: Record<string, Parameter>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== '') query.append(name, String(one));
    }
  }
  const text = query.toString();
  return text && `?${text}`;
}

function between(window: Window): { start: string; end: string } {
  return { start: new Date(window.start).toISOString(), end: new Date(window.end).toISOString() };
}

/** The JSON at an address of this server; undefined where it answers that there is none. */
export async function getJson<T>(
  path: string,
  parameters: Record<string, Parameter>,
  signal: AbortSignal,
): Promise<T> {
  inFlight += 1;
  try {
    const response = await fetch(path + queryString(parameters), {
      signal,
      headers: { Accept: 'application/json' },
    });
    if (!response.ok) throw await refusal(response);
    return (response.status === 204 ? undefined : await response.json()) as T;
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
    throw new ApiError('The server did not answer. Is it still running?', 0);
  } finally {
    inFlight -= 1;
  }
}

function get<T>(path: string, parameters: Record<string, Parameter>, signal: AbortSignal): Promise<T> {
  return getJson(BASE + path, parameters, signal);
}

async function refusal(response: Response): Promise<ApiError> {
  try {
    const problem = (await response.json()) as Problem | Refusal;
    if ('errorType' in problem) return new ApiError(problem.error, response.status);
    if (problem.message) return new ApiError(problem.message, response.status, problem.field);
  } catch {
    // Something between us and the server answered: its status is all there is to tell.
  }
  return new ApiError(
    `The server answered ${response.status} ${response.statusText}`.trimEnd() + '.',
    response.status,
  );
}

const part = encodeURIComponent;

export function getServices(window: Window, signal: AbortSignal): Promise<Services> {
  return get('/services', between(window), signal);
}

export function getOperations(service: string, window: Window, signal: AbortSignal): Promise<Operations> {
  return get(`/services/${part(service)}/operations`, between(window), signal);
}

export function getTraces(
  filter: TraceFilter,
  window: Window,
  page: { limit: number; cursor: string | null },
  signal: AbortSignal,
): Promise<Traces> {
  return get('/traces', { ...filter, ...between(window), ...page }, signal);
}

export function getTrace(traceId: string, signal: AbortSignal): Promise<Trace> {
  return get(`/traces/${part(traceId)}`, {}, signal);
}

export function getLogs(
  filter: LogFilter,
  window: Window,
  page: { limit: number; cursor: string | null },
  signal: AbortSignal,
): Promise<Logs> {
  return get('/logs', { ...filter, ...between(window), ...page }, signal);
}

export function getLogCounts(
  filter: LogFilter,
  window: Window,
  buckets: number,
  signal: AbortSignal,
): Promise<LogCounts> {
  return get('/logs/counts', { ...filter, ...between(window), buckets }, signal);
}

/** Where new matching log records are streamed from. */
export function logTailUrl(filter: LogFilter): string {
  return `${BASE}/logs/tail${queryString({ ...filter })}`;
}

export function getMetrics(window: Window, signal: AbortSignal): Promise<Metrics> {
  return get('/metrics', between(window), signal);
}

export function getLabels(metric: string, window: Window, signal: AbortSignal): Promise<Labels> {
  return get(`/metrics/${part(metric)}/labels`, between(window), signal);
}

export function getStatus(signal: AbortSignal): Promise<ServerStatus> {
  return get('/status', {}, signal);
}
