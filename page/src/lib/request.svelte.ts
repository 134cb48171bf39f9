/** A request whose answer is shown: made anew when what it depends on changes, the older answer kept until then. */

import { untrack } from 'svelte';
import { ApiError } from '../api/client';

export type Send<T> = (signal: AbortSignal) => Promise<T>;

export class Request<T> {
  value = $state.raw<T>();
  failure = $state.raw<ApiError>();
  waiting = $state(false);
  private attempt = $state(0);

  /**
   * `prepare` reads reactive state and returns the request to make, or null for none. `subject`, where given, names
   * what is asked about: when it changes the old answer is dropped, since it would be shown under the wrong name.
   * Must be called while a component is set up.
   */
  constructor(prepare: () => Send<T> | null, subject: () => string = () => '') {
    let lastSubject = '';
    $effect(() => {
      void this.attempt;
      const send = prepare();
      const now = subject();
      if (now !== lastSubject || !send) this.value = undefined;
      lastSubject = now;
      if (!send) {
        this.failure = undefined;
        this.waiting = false;
        return;
      }
      const controller = new AbortController();
      this.waiting = true;
      untrack(() => this.run(send, controller.signal));
      return () => controller.abort();
    });
  }

  retry = (): void => {
    this.attempt += 1;
  };

  private run(send: Send<T>, signal: AbortSignal): void {
    send(signal).then(
      (value) => {
        if (signal.aborted) return;
        this.value = value;
        this.failure = undefined;
        this.waiting = false;
      },
      (error: unknown) => {
        if (signal.aborted) return;
        this.failure = error instanceof ApiError ? error : new ApiError(String(error), 0);
        this.waiting = false;
      },
    );
  }
}
