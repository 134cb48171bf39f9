/** Counts over time as stacked bars. */

import type { LogCounts } from '../api/types';
import { SEVERITIES, severityOf, type Severity } from './severity';
import { millis } from './time';

export interface Segment {
  severity: Severity;
  count: number;
  /** How many lie beneath it in its bar. */
  below: number;
}

export interface Bar {
  start: number;
  end: number;
  total: number;
  segments: Segment[];
}

/** Bars of equal width with the most severe at the bottom, where a rare error shows best. */
export function stack(answer: LogCounts): Bar[] {
  const start = millis(answer.start);
  const step = answer.step_seconds * 1000;
  const length = Math.max(0, ...Object.values(answer.counts).map((counts) => counts.length));
  const bars: Bar[] = Array.from({ length }, (_, i) => ({
    start: start + i * step,
    end: start + (i + 1) * step,
    total: 0,
    segments: [],
  }));
  for (const severity of [...SEVERITIES].reverse()) {
    for (const [name, counts] of Object.entries(answer.counts)) {
      if (severityOf(name) !== severity) continue;
      counts.forEach((count, i) => {
        const bar = bars[i];
        if (!bar || count === 0) return;
        bar.segments.push({ severity, count, below: bar.total });
        bar.total += count;
      });
    }
  }
  return bars;
}

/** How many records of each severity, the most severe first, leaving out those with none. */
export function totals(answer: LogCounts): { severity: Severity; count: number }[] {
  const sums = new Map<Severity, number>();
  for (const [name, counts] of Object.entries(answer.counts)) {
    const severity = severityOf(name);
    sums.set(
      severity,
      counts.reduce((sum, count) => sum + count, sums.get(severity) ?? 0),
    );
  }
  return [...SEVERITIES]
    .reverse()
    .map((severity) => ({ severity, count: sums.get(severity) ?? 0 }))
    .filter(({ count }) => count > 0);
}
