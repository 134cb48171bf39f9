/** Live log records: newest first, bounded, and held back while the reader looks at what is there. */

import { logTailUrl, type LogFilter } from '../api/client';
import type { LogRecord } from '../api/types';

/** Records kept in view and, apart from them, while paused; older ones are dropped and counted. */
const KEPT = 1000;

export interface TailRecord {
  /** Its place in the stream: tells records apart that are otherwise equal. */
  id: number;
  record: LogRecord;
}

export class Tail {
  records = $state.raw<TailRecord[]>([]);
  connected = $state(false);
  paused = $state(false);
  /** How many arrived while paused. */
  pending = $state(0);

  private source: EventSource | undefined;
  private arrived: TailRecord[] = [];
  private count = 0;
  private frame = 0;

  /** Opens the stream afresh; the browser reconnects by itself when it breaks. */
  open(filter: LogFilter): void {
    this.close();
    this.records = [];
    this.source = new EventSource(logTailUrl(filter));
    this.source.onopen = () => (this.connected = true);
    this.source.onerror = () => (this.connected = false);
    this.source.onmessage = (event: MessageEvent<string>) => this.take(JSON.parse(event.data) as LogRecord);
  }

  close(): void {
    this.source?.close();
    this.source = undefined;
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.arrived = [];
    this.connected = false;
    this.pending = 0;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.show();
  }

  private take(record: LogRecord): void {
    this.arrived.push({ id: this.count++, record });
    if (this.arrived.length > KEPT) this.arrived.shift();
    // One update a frame at most, however many records arrive.
    if (this.frame === 0) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        if (this.paused) this.pending = this.arrived.length;
        else this.show();
      });
    }
  }

  private show(): void {
    this.records = [...this.arrived.reverse(), ...this.records].slice(0, KEPT);
    this.arrived = [];
    this.pending = 0;
  }
}
