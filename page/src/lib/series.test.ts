import { expect, it } from 'vitest';
import { lonePlaces, seriesNames, stacked, tellingLabels, toNumber, valuesOn } from './series';

it('reads infinities, which are written in words', () => {
  expect(['1.5', 'NaN', '+Inf', '-Inf', '1e-3'].map(toNumber)).toEqual([
    1.5,
    NaN,
    Infinity,
    -Infinity,
    0.001,
  ]);
});

it('puts samples on a grid, with gaps where there is none or it is no number', () => {
  const grid = { start: 100, step: 15, count: 4 };
  expect(
    valuesOn(grid, [
      [100, '1'],
      [115, 'NaN'],
      [145, '3'],
      [160, '4'],
    ]),
  ).toEqual([1, null, null, 3]);
});

it('stacks lines on those before them, leaving out hidden ones', () => {
  const lines = [
    [1, null, 3],
    [10, 10, 10],
    [100, 100, null],
  ];
  expect(stacked(lines, new Set())).toEqual([
    [1, null, 3],
    [11, 10, 13],
    [111, 110, null],
  ]);
  expect(stacked(lines, new Set([1]))[2]).toEqual([101, 100, null]);
});

it('finds values that stand alone between gaps', () => {
  expect(lonePlaces([1, null, 2, 3, null, 4])).toEqual([0, 5]);
});

it('names series by the labels on which they differ', () => {
  const series = [
    { __name__: 'x', job: 'shop', route: '/a' },
    { __name__: 'x', job: 'shop', route: '/b' },
  ];
  expect(seriesNames(series)).toEqual(['route=/a', 'route=/b']);
  expect(seriesNames(series.slice(0, 1))).toEqual(['x  job=shop  route=/a']);
  expect(tellingLabels(series)).toEqual(['route']);
});
