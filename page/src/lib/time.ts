/** Instants to the nanosecond, which a JavaScript `Date` cannot hold. */

/** Whole milliseconds since the epoch, and the nanoseconds beyond them (0 to 999,999). */
export interface Instant {
  ms: number;
  nanos: number;
}

/** Reads RFC 3339 with up to nine decimals; `ms` is NaN when the text is no time. */
export function parseInstant(text: string): Instant {
  const fraction = /\.(\d{1,9})/.exec(text)?.[1];
  if (fraction === undefined) return { ms: Date.parse(text), nanos: 0 };
  const padded = fraction.padEnd(9, '0');
  const toMillisecond = text.replace(`.${fraction}`, `.${padded.slice(0, 3)}`);
  return { ms: Date.parse(toMillisecond), nanos: Number(padded.slice(3)) };
}

/** Nanoseconds from one time to another; exact up to 104 days apart. */
export function nanosBetween(from: string, to: string): number {
  const a = parseInstant(from);
  const b = parseInstant(to);
  return (b.ms - a.ms) * 1e6 + (b.nanos - a.nanos);
}

/** Milliseconds since the epoch of an RFC 3339 time. */
export function millis(text: string): number {
  return parseInstant(text).ms;
}
