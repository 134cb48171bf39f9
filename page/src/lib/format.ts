/** Figures and times as people read them. Durations are nanoseconds, times milliseconds since the epoch. */

import { parseInstant } from './time';

/** Three significant digits at most, no trailing zeros after the point: `1.2`, `34.5`, `678`. */
function short(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}

/** `0`, `870 ns`, `45.2 µs`, `312 ms`, `1.24 s`, `2 m 5 s`, `3 h 20 m`. */
export function formatDuration(ns: number): string {
  if (ns < 0) return `-${formatDuration(-ns)}`;
  if (ns === 0) return '0';
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  if (ns < 999.5e3) return `${short(ns / 1e3)} µs`;
  if (ns < 999.5e6) return `${short(ns / 1e6)} ms`;
  if (ns < 59.95e9) return `${short(ns / 1e9)} s`;
  const seconds = Math.round(ns / 1e9);
  if (seconds < 3600) return join(Math.floor(seconds / 60), 'm', seconds % 60, 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return join(Math.floor(minutes / 60), 'h', minutes % 60, 'm');
  const hours = Math.round(minutes / 60);
  return join(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function join(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

const UNIT_NS: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** Nanoseconds of `250ms`, `1.5s`, `2m`; null when the text is no duration. */
export function parseDuration(text: string): number | null {
  const match = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*(ns|us|µs|ms|s|m|h)\s*$/.exec(text);
  if (!match) return null;
  return Number(match[1]) * (UNIT_NS[match[2] ?? ''] ?? NaN);
}

/** A duration as the API takes it, to the microsecond: `12.345ms`. */
export function durationParameter(ns: number): string {
  return `${Number((ns / 1e6).toFixed(3))}ms`;
}

/** `0`, `0.05`, `12.3`, `4.5 k`, `1.2 M`; small figures keep three significant digits. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '∞' : '−∞';
  const size = Math.abs(value);
  if (size >= 999.5e9) return `${short(value / 1e12)} T`;
  if (size >= 999.5e6) return `${short(value / 1e9)} G`;
  if (size >= 999.5e3) return `${short(value / 1e6)} M`;
  if (size >= 10e3) return `${short(value / 1e3)} k`;
  if (size >= 1000) return Math.round(value).toLocaleString('en');
  if (size >= 1 || size === 0) return short(value);
  return String(Number(value.toPrecision(3)));
}

/** A whole number with thousands separated. */
export function formatCount(value: number): string {
  return value.toLocaleString('en');
}

/** `12.4 /s`, or `3.1 /min` for what happens less than once in ten seconds. */
export function formatRate(perSecond: number): string {
  if (perSecond === 0) return '0 /s';
  return perSecond < 0.1 ? `${short(perSecond * 60)} /min` : `${formatNumber(perSecond)} /s`;
}

/** `0 %`, `0.25 %`, `4.1 %`, `100 %`. A ratio above zero never reads as zero. */
export function formatRatio(ratio: number): string {
  if (ratio > 0 && ratio < 0.0001) return '< 0.01 %';
  return `${short(ratio * 100)} %`;
}

/** How long ago, in one unit: `now`, `8 s ago`, `5 min ago`, `3 h ago`, `2 d ago`. */
export function formatAgo(ms: number, now: number): string {
  const seconds = Math.round((now - ms) / 1000);
  if (seconds < 2) return 'now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

function pad(value: number, width = 2): string {
  return String(value).padStart(width, '0');
}

/** The local time of day to the millisecond: `14:05:09.123`. */
export function formatClock(time: string): string {
  const date = new Date(parseInstant(time).ms);
  return `${formatTimeOfDay(date, true)}.${pad(date.getMilliseconds(), 3)}`;
}

/** The local date and time to the millisecond: `2026-11-21 14:05:09.123`. */
export function formatDateTime(time: string): string {
  const date = new Date(parseInstant(time).ms);
  return `${formatDate(date)} ${formatClock(time)}`;
}

function formatDate(date: Date): string {
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

function formatTimeOfDay(date: Date, seconds: boolean): string {
  const minutes = `${pad(date.getHours())}:${pad(date.getMinutes())}`;
  return seconds ? `${minutes}:${pad(date.getSeconds())}` : minutes;
}

/** A local time for a tick of an axis whose ticks lie `stepMs` apart. */
export function formatTick(ms: number, stepMs: number): string {
  const date = new Date(ms);
  if (stepMs >= 86_400_000) return formatDate(date).slice(5);
  if (stepMs < 1000) return `${formatTimeOfDay(date, true)}.${pad(date.getMilliseconds(), 3).slice(0, 1)}`;
  return formatTimeOfDay(date, stepMs < 60_000);
}

/** Two ends of a range with no more of the date than is needed. */
export function formatWindow(start: number, end: number): string {
  const from = new Date(start);
  const to = new Date(end);
  const seconds = end - start < 600_000;
  const sameDay = formatDate(from) === formatDate(to);
  const today = formatDate(from) === formatDate(new Date());
  const first = `${sameDay && today ? '' : `${formatDate(from).slice(5)} `}${formatTimeOfDay(from, seconds)}`;
  return `${first} – ${sameDay ? '' : `${formatDate(to).slice(5)} `}${formatTimeOfDay(to, seconds)}`;
}

/** `512 B`, `4.2 KiB`, `1.1 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.abs(bytes) || 1) / 10)));
  return `${short(bytes / 1024 ** power)} ${units[power]}`;
}

/** A value in its unit, as Prometheus and OpenTelemetry name units; `per` makes it a rate. */
export function formatValue(value: number, unit: string, per = false): string {
  if (!Number.isFinite(value)) return formatNumber(value);
  switch (unit) {
    case 's':
    case 'seconds':
      // Seconds per second have no unit left.
      return per ? formatNumber(value) : formatDuration(value * 1e9);
    case 'milliseconds':
      return per ? formatNumber(value / 1000) : formatDuration(value * 1e6);
    case 'By':
    case 'bytes':
      return formatBytes(value) + (per ? '/s' : '');
    case 'ratio':
      return per ? formatRate(value) : formatRatio(value);
    case '%':
      return per ? formatRate(value) : formatRatio(value / 100);
    case 'timestamp':
      return per ? formatNumber(value) : formatDateTime(new Date(value * 1000).toISOString()).slice(0, 19);
    default:
      return per ? `${formatNumber(value)} /s` : formatNumber(value);
  }
}
