/** The time range in view, and its refreshing. */

import { isBusy, type Window } from '../api/client';
import { rangeFromQuery, rangeToQuery, resolveRange, type TimeRange } from './range';
import { router } from './router.svelte';

const REFRESH_MS = 5000;

class View {
  /** The moment that relative ranges end at; moves on with every refresh. */
  now = $state(Date.now());
  /** Set by a page while new data would take away what is being read. */
  held = $state(false);

  range: TimeRange = $derived(rangeFromQuery(router.query));
  window: Window = $derived(resolveRange(this.range, this.now));
  relative = $derived('seconds' in this.range);
  refreshing = $derived(this.relative && router.query.get('refresh') !== 'off');

  /** Refreshes every five seconds while that is asked for, the page is in sight, and no request is still waiting. */
  start(): () => void {
    const timer = setInterval(() => {
      if (this.refreshing && !this.held && !document.hidden && !isBusy()) this.refresh();
    }, REFRESH_MS);
    return () => clearInterval(timer);
  }

  refresh(): void {
    this.now = Date.now();
  }

  setRange(range: TimeRange): void {
    this.refresh();
    router.set(rangeToQuery(range));
  }

  setRefreshing(on: boolean): void {
    this.refresh();
    router.set({ refresh: on ? null : 'off' }, { replace: true });
  }
}

export const view = new View();
