/** The Explore page's queries: what is typed, what is run, and how both follow the page's address. */

import { untrack } from 'svelte';
import type { QueryRun } from './queryRun.svelte';
import { router } from './router.svelte';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** How the queries' results are shown. */
export type Tab = 'chart' | 'table';

export function letterOf(place: number): string {
  return LETTERS[place] ?? String(place + 1);
}

let created = 0;

export class Query {
  readonly id = created++;
  /** What is run. */
  expr = $state('');
  /** What the editor holds. */
  draft = $state('');
  hidden = $state(false);
  /** Its requests, once its row is on the page. */
  run = $state.raw<QueryRun>();

  constructor(expr = '') {
    this.set(expr);
  }

  set(expr: string): void {
    this.expr = expr;
    this.draft = expr;
  }
}

export class Explore {
  queries = $state.raw<Query[]>([new Query()]);
  /** The query last typed in: the one that the metric browser writes to. */
  active = $state.raw<Query>();

  tab: Tab = $derived(router.get('tab') === 'table' ? 'table' : 'chart');
  stacked = $derived(router.get('stacked') === 'on');
  exemplars = $derived(router.get('exemplars') === 'on');
  /** Such as `15s`; '' is automatic. */
  step = $derived(router.get('step'));
  /** Whether an editor holds what has not been run. */
  changed = $derived(this.queries.some((query) => query.draft.trim() !== query.expr));

  /** Texts that the metric browser wrote, and may therefore write over. */
  private readonly offered = new Set<string>();

  /** Must be called while a component is set up. */
  constructor() {
    $effect.pre(() => {
      const asked = router.getAll('q');
      const hidden = router.get('hide');
      untrack(() => this.adopt(asked, hidden));
    });
  }

  /** Takes over what the address asks for, unless that is what is there. */
  private adopt(asked: string[], hidden: string): void {
    const present = this.queries.filter((query) => query.expr !== '');
    const same = asked.length === present.length && asked.every((expr, i) => expr === present[i]?.expr);
    if (!same) {
      this.queries = (asked.length > 0 ? asked : ['']).map((expr, i) => {
        const query = this.queries[i] ?? new Query();
        query.set(expr);
        return query;
      });
    }
    this.queries
      .filter((query) => query.expr !== '')
      .forEach((query, i) => (query.hidden = hidden.includes(letterOf(i))));
  }

  private write(): void {
    const present = this.queries.filter((query) => query.expr !== '');
    const hidden = present.map((query, i) => (query.hidden ? letterOf(i) : '')).join('');
    router.set({ q: present.map((query) => query.expr), hide: hidden });
  }

  /** Runs what the editors hold. */
  run(): void {
    for (const query of this.queries) {
      if (query.draft.trim() !== query.expr) query.set(query.draft.trim());
    }
    this.write();
  }

  add(): void {
    this.active = new Query();
    this.queries = [...this.queries, this.active];
  }

  remove(query: Query): void {
    const others = this.queries.filter((one) => one !== query);
    this.queries = others.length > 0 ? others : [new Query()];
    if (this.active === query) this.active = undefined;
    this.write();
  }

  move(query: Query, by: -1 | 1): void {
    const from = this.queries.indexOf(query);
    const moved = this.queries.toSpliced(from, 1).toSpliced(from + by, 0, query);
    this.queries = moved;
    this.write();
  }

  toggle(query: Query): void {
    query.hidden = !query.hidden;
    this.write();
  }

  /**
   * Runs a query that suits a metric: in place of the one last typed in where that is empty or was offered in the
   * same way, else as a further one.
   */
  offer(expr: string, { further = false } = {}): void {
    let query = this.active ?? this.queries.at(-1);
    const free = query && (query.draft.trim() === '' || (!further && this.offered.has(query.draft)));
    if (!query || !free) {
      query = new Query();
      this.queries = [...this.queries, query];
    }
    this.offered.add(expr);
    this.active = query;
    query.draft = expr;
    query.hidden = false;
    this.run();
  }
}
