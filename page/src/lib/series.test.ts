import { expect, it } from 'vitest';
import { align, isCounter, perSecond, seriesNames, toNumber } from './series';

it('reads NaN and infinities, which come as strings', () => {
  expect([1.5, 'NaN', '+Inf', '-Inf'].map(toNumber)).toEqual([1.5, NaN, Infinity, -Infinity]);
});

it('turns a counter into its increase per second', () => {
  expect(
    perSecond([
      [0, 10],
      [10, 30],
      [20, 30],
    ]),
  ).toEqual([
    [10, 2],
    [20, 0],
  ]);
});

it('takes a fall for a new start from zero', () => {
  expect(
    perSecond([
      [0, 100],
      [10, 20],
    ]),
  ).toEqual([[10, 2]]);
});

it('puts series on one list of times, with gaps where one has no sample or no number', () => {
  const lines = align([
    [
      [1, 10],
      [3, 'NaN'],
    ],
    [[2, 20]],
  ]);
  expect(lines).toEqual({
    times: [1, 2, 3],
    values: [
      [10, null, null],
      [null, 20, null],
    ],
  });
});

it('names series by the labels on which they differ', () => {
  const series = [
    { labels: { __name__: 'x', job: 'shop', route: '/a' }, points: [] },
    { labels: { __name__: 'x', job: 'shop', route: '/b' }, points: [] },
  ];
  expect(seriesNames(series)).toEqual(['route=/a', 'route=/b']);
  expect(seriesNames(series.slice(0, 1))).toEqual(['__name__=x  job=shop  route=/a']);
});

it('knows counters by type, or by the names Prometheus gives them', () => {
  expect(isCounter('requests', 'counter')).toBe(true);
  expect(isCounter('http_request_duration_seconds_sum', 'histogram')).toBe(true);
  expect(isCounter('queue_depth', 'gauge')).toBe(false);
});
