import { describe, expect, it } from 'vitest';
import { typeOf, valueText } from './attributes';
import { HUES, pickSlot } from './colours';
import { stack, totals } from './histogram';
import { linear, linearTicks, logTicks, timeTicks } from './scale';
import { severityOf } from './severity';
import { sortRows } from './sort';
import { barPath, linePath } from './sparkline';
import { parseStack } from './stacktrace';
import { nanosBetween, parseInstant } from './time';
import { markWords } from './words';

describe('instants', () => {
  it('keep their nanoseconds', () => {
    expect(parseInstant('2026-11-21T05:00:00.123456789Z')).toEqual({
      ms: Date.UTC(2026, 10, 21, 5, 0, 0, 123),
      nanos: 456_789,
    });
    expect(parseInstant('2026-11-21T05:00:00Z').ms).toBe(Date.UTC(2026, 10, 21, 5));
  });

  it('are a whole number of nanoseconds apart', () => {
    expect(nanosBetween('2026-11-21T05:00:00.999999999Z', '2026-11-21T05:00:01.000000001Z')).toBe(2);
  });
});

describe('histogram', () => {
  const answer = {
    start: '2026-11-21T05:00:00Z',
    end: '2026-11-21T05:02:00Z',
    step_seconds: 60,
    counts: { info: [5, 0], error: [2, 1] },
    total: 8,
  };

  it('stacks the most severe at the bottom', () => {
    const [first, second] = stack(answer);
    expect(first).toMatchObject({
      total: 7,
      segments: [
        { severity: 'error', count: 2, below: 0 },
        { severity: 'info', count: 5, below: 2 },
      ],
    });
    expect(second).toMatchObject({ total: 1, start: Date.UTC(2026, 10, 21, 5, 1) });
  });

  it('totals by severity, leaving out those with none', () => {
    expect(totals(answer)).toEqual([
      { severity: 'error', count: 3 },
      { severity: 'info', count: 5 },
    ]);
  });

  it('takes OTLP’s finer levels for the plain ones', () => {
    expect(['warn2', 'ERROR', 'whatever'].map(severityOf)).toEqual(['warn', 'error', 'unset']);
  });
});

describe('scales', () => {
  it('map linearly, and to one place when there is no length', () => {
    expect(linear(0, 10, 100, 200)(5)).toBe(150);
    expect(linear(3, 3, 100, 200)(3)).toBe(100);
  });

  it('have round ticks', () => {
    expect(linearTicks(0, 87, 5)).toEqual([0, 20, 40, 60, 80]);
    expect(logTicks(1e6, 1.2e9)).toEqual([1e6, 1e7, 1e8, 1e9]);
    expect(logTicks(1e6, 1e7)).toEqual([1e6, 2e6, 5e6, 1e7]);
  });

  it('have ticks at round times, no more than asked', () => {
    const { ticks, step } = timeTicks(Date.UTC(2026, 10, 21, 5, 2), Date.UTC(2026, 10, 21, 6, 2), 7);
    expect(step).toBe(600_000);
    expect(ticks).toHaveLength(6);
    expect(ticks.every((tick) => tick % step === 0)).toBe(true);
  });
});

describe('tracebacks', () => {
  const parts = parseStack(
    'Traceback (most recent call last):\n  File "/venv/lib/python3.12/site-packages/a.py", line 3, in f\n' +
      '    g()\n    ^^^\n  File "/srv/shop/b.py", line 9, in g\nValueError: no',
  );

  it('have their frames taken apart, libraries told from one’s own code', () => {
    expect(parts).toEqual([
      { text: 'Traceback (most recent call last):' },
      {
        frame: {
          file: '/venv/lib/python3.12/site-packages/a.py',
          line: 3,
          name: 'f',
          code: 'g()',
          library: true,
        },
      },
      { frame: { file: '/srv/shop/b.py', line: 9, name: 'g', code: '', library: false } },
      { text: 'ValueError: no' },
    ]);
  });

  it('of other languages stay text', () => {
    expect(parseStack('Error: x\n    at f (a.js:1:2)')).toEqual([
      { text: 'Error: x' },
      { text: '    at f (a.js:1:2)' },
    ]);
  });
});

describe('attributes', () => {
  it('keep their types', () => {
    const values = ['', 0, 1.5, false, null, [1], { a: 1 }, { $bytes: 'AA==' }];
    expect(values.map(typeOf)).toEqual(['string', 'int', 'double', 'bool', 'empty', 'array', 'map', 'bytes']);
  });

  it('have a text', () => {
    expect(['x', 0, false, ['a', 1], { $bytes: 'AA==' }].map(valueText)).toEqual([
      'x',
      '0',
      'false',
      '["a",1]',
      'AA==',
    ]);
  });
});

it('gives services colours far from those taken, and shares them once all are', () => {
  const taken = new Set<number>();
  for (const name of 'abcdefghijkl') {
    const slot = pickSlot(name, taken);
    expect(taken.has(slot)).toBe(false);
    taken.add(slot);
  }
  expect(taken.size).toBe(HUES.length);
  expect(pickSlot('m', taken)).toBeLessThan(HUES.length);
  expect(Math.abs((HUES[pickSlot('shop', new Set([0]))] ?? 0) - HUES[0])).toBeGreaterThan(120);
});

it('marks words wherever they occur, in any case, and takes signs as they are', () => {
  expect(markWords('Order (7) placed', 'order (7)')).toEqual([
    { text: 'Order', found: true },
    { text: ' ', found: false },
    { text: '(7)', found: true },
    { text: ' placed', found: false },
  ]);
});

it('sorts rows with nulls last either way', () => {
  const sorted = (descending: boolean) => sortRows([2, null, 3], (value) => value, descending);
  expect(sorted(true)).toEqual([3, 2, null]);
  expect(sorted(false)).toEqual([2, 3, null]);
});

it('breaks a small line where values are missing, and shows every bar above zero', () => {
  expect(linePath([1, null, 2, 2], 2, 30, 10)).toBe('M0.0 5.0h0.01M20.0 0.0L30.0 0.0');
  expect(barPath([0, 1, 1000], 1000, 30, 10)).toBe('M10.0 10v-1.0h9.0v1.0zM20.0 10v-10.0h9.0v10.0z');
});
