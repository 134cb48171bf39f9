/** The asked time range: relative to now, or between two instants; and how it is written in the page's address. */

import type { Window } from '../api/client';
import { formatWindow } from './format';

export type TimeRange = { seconds: number } | Window;

export const PRESETS = [
  { text: '5m', seconds: 300, label: 'Last 5 minutes' },
  { text: '15m', seconds: 900, label: 'Last 15 minutes' },
  { text: '1h', seconds: 3600, label: 'Last hour' },
  { text: '6h', seconds: 21_600, label: 'Last 6 hours' },
  { text: '24h', seconds: 86_400, label: 'Last 24 hours' },
] as const;

export const DEFAULT_RANGE: TimeRange = { seconds: 900 };

const UNIT_SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** The range an address asks for: `range=15m`, or `from` and `to` in RFC 3339; the default when it asks for none. */
export function rangeFromQuery(query: URLSearchParams): TimeRange {
  const start = Date.parse(query.get('from') ?? '');
  const end = Date.parse(query.get('to') ?? '');
  if (start < end) return { start, end };
  const seconds = parseSeconds(query.get('range') ?? '');
  return seconds === null ? DEFAULT_RANGE : { seconds };
}

/** Seconds of `30s`, `5m`, `6h`, `7d`; null for anything else. */
export function parseSeconds(text: string): number | null {
  const match = /^([1-9]\d{0,5})([smhd])$/.exec(text);
  return match && Number(match[1]) * (UNIT_SECONDS[match[2] ?? ''] ?? 1);
}

/** The address's parameters for a range; null removes one. */
export function rangeToQuery(range: TimeRange): Record<'range' | 'from' | 'to', string | null> {
  if ('seconds' in range) return { range: secondsText(range.seconds), from: null, to: null };
  return {
    range: null,
    from: new Date(range.start).toISOString(),
    to: new Date(range.end).toISOString(),
  };
}

/** Seconds as `parseSeconds` reads them. */
export function secondsText(seconds: number): string {
  const unit = Object.entries(UNIT_SECONDS)
    .reverse()
    .find(([name, size]) => seconds % size === 0 && (name !== 'd' || seconds > 86_400));
  return unit ? `${seconds / unit[1]}${unit[0]}` : `${seconds}s`;
}

/** The range's two ends at a given moment. */
export function resolveRange(range: TimeRange, now: number): Window {
  return 'seconds' in range ? { start: now - range.seconds * 1000, end: now } : range;
}

/** The range as its button reads. */
export function describeRange(range: TimeRange): string {
  if (!('seconds' in range)) return formatWindow(range.start, range.end);
  const preset = PRESETS.find((one) => one.seconds === range.seconds);
  return preset?.label ?? `Last ${secondsText(range.seconds)}`;
}

/** The same range made `factor` times as long around its middle, never past `now`. */
export function widen(window: Window, factor: number, now: number): Window {
  const middle = (window.start + window.end) / 2;
  const half = ((window.end - window.start) * factor) / 2;
  const end = Math.min(middle + half, now);
  return { start: end - 2 * half, end };
}
