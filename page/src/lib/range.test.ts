import { describe, expect, it } from 'vitest';
import { DEFAULT_RANGE, describeRange, rangeFromQuery, rangeToQuery, resolveRange, widen } from './range';

const read = (text: string) => rangeFromQuery(new URLSearchParams(text));

describe('a range in the address', () => {
  it.each([
    ['range=5m', { seconds: 300 }],
    ['range=24h', { seconds: 86_400 }],
    ['range=90s', { seconds: 90 }],
    [
      'from=2026-11-21T05:00:00Z&to=2026-11-21T06:00:00Z',
      { start: Date.UTC(2026, 10, 21, 5), end: Date.UTC(2026, 10, 21, 6) },
    ],
  ])('%s is understood and written back the same', (text, range) => {
    expect(read(text)).toEqual(range);
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(rangeToQuery(range))) if (value) query.set(name, value);
    expect(rangeFromQuery(query)).toEqual(range);
  });

  it.each(['', 'range=soon', 'range=0m', 'from=2026-11-21T06:00:00Z&to=2026-11-21T05:00:00Z', 'from=x&to=y'])(
    'is the default when it says "%s"',
    (text) => {
      expect(read(text)).toBe(DEFAULT_RANGE);
    },
  );
});

it('ends now when it is relative', () => {
  expect(resolveRange({ seconds: 60 }, 100_000)).toEqual({ start: 40_000, end: 100_000 });
});

it('is named as its button reads', () => {
  expect(describeRange({ seconds: 3600 })).toBe('Last hour');
  expect(describeRange({ seconds: 120 })).toBe('Last 2m');
});

it('widens around its middle, and not past now', () => {
  expect(widen({ start: 100, end: 200 }, 2, 1000)).toEqual({ start: 50, end: 250 });
  expect(widen({ start: 100, end: 200 }, 2, 210)).toEqual({ start: 10, end: 210 });
});
