/** A list read page by page: the first follows what is asked, the others are added when the reader gets there. */

import { ApiError } from '../api/client';
import { Request, type Send } from './request.svelte';

export interface Page<T> {
  items: T[];
  next: string | null;
}

export class Pages<T> {
  readonly first: Request<Page<T>>;
  private further = $state.raw<T[]>([]);
  private next = $state.raw<string | null>(null);
  private asking: ((cursor: string) => Send<Page<T>>) | null = null;
  private controller = new AbortController();

  /** Whether a further page is being read, or why it could not be. */
  waiting = $state(false);
  failure = $state.raw<ApiError>();

  items = $derived.by(() => [...(this.first?.value?.items ?? []), ...this.further]);
  more = $derived(this.next !== null);
  /** Whether more than the first page has been read. */
  extended = $derived(this.further.length > 0);

  /** `prepare` reads reactive state and returns what to send for the page at a cursor; null is the first page. */
  constructor(prepare: () => (cursor: string | null) => Send<Page<T>>) {
    this.first = new Request(() => {
      const ask = prepare();
      return async (signal) => {
        const page = await ask(null)(signal);
        if (!signal.aborted) this.begin(page, ask);
        return page;
      };
    });
  }

  private begin(page: Page<T>, ask: (cursor: string) => Send<Page<T>>): void {
    this.controller.abort();
    this.controller = new AbortController();
    this.further = [];
    this.next = page.next;
    this.asking = ask;
    this.waiting = false;
    this.failure = undefined;
  }

  /** Reads one more page, unless one is being read or none is left. */
  readMore = async (): Promise<void> => {
    if (this.waiting || this.next === null || !this.asking) return;
    const { signal } = this.controller;
    this.waiting = true;
    this.failure = undefined;
    try {
      const page = await this.asking(this.next)(signal);
      if (signal.aborted) return;
      this.further = [...this.further, ...page.items];
      this.next = page.next;
    } catch (error) {
      if (!signal.aborted) this.failure = error instanceof ApiError ? error : new ApiError(String(error), 0);
    } finally {
      if (!signal.aborted) this.waiting = false;
    }
  };
}
