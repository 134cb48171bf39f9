import { expect, it } from 'vitest';
import { heatOf, isHistogram } from './heatmap';

const grid = { start: 0, step: 10, count: 2 };

it('takes what each classic bucket holds beyond the one below it, over all series', () => {
  const series = ['+Inf', '1', '2'].flatMap((le, i) =>
    ['a', 'b'].map((pod) => ({
      metric: { le, pod },
      values: [[0, ['5', '1', '4'][i] ?? '']] as [number, string][],
    })),
  );
  expect(isHistogram(series)).toBe(true);
  expect(heatOf(series, grid)).toEqual({
    bounds: [0, 1, 2, Infinity],
    cells: [
      { place: 0, low: 0, high: 1, count: 2 },
      { place: 0, low: 1, high: 2, count: 6 },
      { place: 0, low: 2, high: 3, count: 2 },
    ],
    top: 6,
  });
});

it('lays native buckets between all bounds there are, so that coarser ones cover finer', () => {
  const heat = heatOf(
    [
      {
        metric: {},
        histograms: [
          [0, { count: '3', sum: '1', buckets: [[0, '1', '4', '3']] }],
          [
            10,
            {
              count: '3',
              sum: '1',
              buckets: [
                [0, '1', '2', '1'],
                [0, '2', '4', '2'],
              ],
            },
          ],
        ],
      },
    ],
    grid,
  );
  expect(heat.bounds).toEqual([1, 2, 4]);
  expect(heat.cells[0]).toEqual({ place: 0, low: 0, high: 2, count: 3 });
});

it('takes nothing else for a histogram', () => {
  expect(isHistogram([])).toBe(false);
  expect(isHistogram([{ metric: { le: '1' }, values: [[0, '1']] }])).toBe(false);
  expect(
    isHistogram([
      { metric: { le: '1' }, values: [] },
      { metric: {}, values: [] },
    ]),
  ).toBe(false);
});
