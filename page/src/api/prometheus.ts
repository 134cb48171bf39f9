/** Prometheus' HTTP API as functions: each takes its parameters and a signal, and rejects with `ApiError` only. */

import { getJson, type Window } from './client';
import type {
  Envelope,
  ExemplarSeries,
  InstantResult,
  QueryNode,
  QueryStats,
  RangeResult,
  ScrapePools,
  Targets,
} from './prometheusTypes';

export const API = '/api/v1';

/** What the server remarks about a query, and how long it took to evaluate. */
export interface Remarks {
  warnings: string[];
  infos: string[];
  seconds: number | null;
}

export type Answer<T> = T & Remarks;

/** The moments a range query is evaluated at: `count` of them from `start`, `step` apart, in seconds. */
export interface Grid {
  start: number;
  step: number;
  count: number;
}

async function ask<T>(
  path: string,
  parameters: Parameters<typeof getJson>[1],
  signal: AbortSignal,
): Promise<T> {
  return (await getJson<Envelope<T>>(API + path, parameters, signal)).data;
}

async function evaluate<T extends { stats?: QueryStats }>(
  path: string,
  parameters: Parameters<typeof getJson>[1],
  signal: AbortSignal,
): Promise<Answer<T>> {
  const { data, warnings, infos } = await getJson<Envelope<T>>(
    API + path,
    { ...parameters, stats: 'all' },
    signal,
  );
  const seconds = data.stats?.timings.execTotalTime ?? null;
  return { ...data, warnings: warnings ?? [], infos: infos ?? [], seconds };
}

export function queryRange(
  query: string,
  grid: Grid,
  limit: number,
  signal: AbortSignal,
): Promise<Answer<RangeResult>> {
  const end = grid.start + (grid.count - 1) * grid.step;
  return evaluate('/query_range', { query, start: grid.start, end, step: grid.step, limit }, signal);
}

/** `time` is in milliseconds since the epoch. */
export function queryInstant(
  query: string,
  time: number,
  limit: number,
  signal: AbortSignal,
): Promise<Answer<InstantResult>> {
  return evaluate('/query', { query, time: time / 1000, limit }, signal);
}

/** The exemplars of the series a query selects; a query that selects none has none. */
export async function queryExemplars(
  query: string,
  window: Window,
  signal: AbortSignal,
): Promise<ExemplarSeries[]> {
  const parameters = { query, start: window.start / 1000, end: window.end / 1000 };
  const answer = await getJson<Envelope<ExemplarSeries[]> | undefined>(
    `${API}/query_exemplars`,
    parameters,
    signal,
  );
  return answer?.data ?? [];
}

export function parseQuery(query: string, signal: AbortSignal): Promise<QueryNode> {
  return ask('/parse_query', { query }, signal);
}

export function formatQuery(query: string, signal: AbortSignal): Promise<string> {
  return ask('/format_query', { query }, signal);
}

export function getScrapePools(signal: AbortSignal): Promise<ScrapePools> {
  return ask('/scrape_pools', {}, signal);
}

export function getTargets(state: 'active' | 'dropped', pool: string, signal: AbortSignal): Promise<Targets> {
  return ask('/targets', { state, scrapePool: pool }, signal);
}
