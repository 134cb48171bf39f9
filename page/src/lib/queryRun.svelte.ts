/** One query's requests: its series over time or at one moment, its exemplars, and its unit. */

import type { Window } from '../api/client';
import {
  parseQuery,
  queryExemplars,
  queryInstant,
  queryRange,
  type Answer,
  type Grid,
  type Remarks,
} from '../api/prometheus';
import type { ExemplarSeries, InstantResult, RangeResult } from '../api/prometheusTypes';
import type { Query, Tab } from './explore.svelte';
import { Request } from './request.svelte';
import { measured, NO_UNIT, unitOf, type Unit } from './units';

/** More series than this are not asked for. */
export const MOST_SERIES = 1000;

export type RangeAnswer = Answer<RangeResult> & { expr: string; grid: Grid; more: boolean };
export type InstantAnswer = Answer<InstantResult> & { expr: string; more: boolean };

/** What is to be asked: null while the chart has no width yet, and so no step. */
export interface Asked {
  tab: Tab;
  window: Window;
  grid: Grid | null;
  exemplars: boolean;
}

export class QueryRun {
  readonly range: Request<RangeAnswer>;
  readonly instant: Request<InstantAnswer>;
  readonly exemplars: Request<ExemplarSeries[]>;
  private readonly guess: Request<{ result: Unit; measured: Unit }>;

  /** What there is to draw, and to list. */
  chart: RangeAnswer | undefined;
  table: InstantAnswer | undefined;
  /** The request and the answer in view. */
  request: Request<RangeAnswer> | Request<InstantAnswer>;
  answer: RangeAnswer | InstantAnswer | undefined;
  unit: Unit = $derived.by(() => this.guess?.value?.result ?? NO_UNIT);
  /** Of a histogram's bounds. */
  measured: Unit = $derived.by(() => this.guess?.value?.measured ?? NO_UNIT);

  /** Both read reactive state. Must be called while a component is set up. */
  constructor(query: () => Query, asked: () => Asked) {
    this.range = new Request(() => {
      const { tab, grid } = asked();
      const { expr, hidden } = query();
      if (!expr || hidden || tab !== 'chart' || !grid) return null;
      return async (signal) => {
        const answer = await queryRange(expr, grid, MOST_SERIES + 1, signal);
        return { ...cut(answer, answer.result), expr, grid };
      };
    });
    this.instant = new Request(() => {
      const { tab, window } = asked();
      const { expr, hidden } = query();
      if (!expr || hidden || tab !== 'table') return null;
      return async (signal) => {
        const answer = await queryInstant(expr, window.end, MOST_SERIES + 1, signal);
        return { ...cut(answer, answer.result), expr };
      };
    });
    this.exemplars = new Request(() => {
      const { tab, window, exemplars } = asked();
      const { expr, hidden } = query();
      if (!expr || hidden || tab !== 'chart' || !exemplars) return null;
      return (signal) => queryExemplars(expr, window, signal);
    });
    this.guess = new Request(() => {
      const { expr } = query();
      if (!expr) return null;
      return async (signal) => {
        const tree = await parseQuery(expr, signal);
        return { result: unitOf(tree), measured: measured(tree) };
      };
    });
    this.chart = $derived(standing(this.range, query()));
    this.table = $derived(standing(this.instant, query()));
    this.request = $derived(asked().tab === 'chart' ? this.range : this.instant);
    this.answer = $derived(asked().tab === 'chart' ? this.chart : this.table);
  }
}

/** A request's answer. That of an older query stands until this one is answered, but not beside its refusal. */
function standing<T extends { expr: string }>(request: Request<T>, query: Query): T | undefined {
  return request.failure && request.value?.expr !== query.expr ? undefined : request.value;
}

/** The answer without the one series past the limit, which only told that there are more. */
function cut<T extends Remarks & { resultType: string }>(
  answer: T,
  result: unknown[],
): T & { more: boolean } {
  const more =
    answer.resultType !== 'scalar' && answer.resultType !== 'string' && result.length > MOST_SERIES;
  if (!more) return { ...answer, more };
  const warnings = answer.warnings.filter((text) => !text.startsWith('results truncated'));
  return { ...answer, result: result.slice(0, MOST_SERIES), warnings, more };
}
