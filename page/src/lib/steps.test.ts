import { expect, it } from 'vitest';
import { autoStep, gridOf } from './steps';

it.each([
  [300, 900, 1],
  [900, 900, 5],
  [3600, 900, 15],
  [86_400, 300, 900],
  [400 * 86_400, 900, 172_800],
])('%d seconds in %d pixels step by %d', (seconds, width, step) => {
  expect(autoStep({ start: 0, end: seconds * 1000 }, width)).toBe(step);
});

it('evaluates at whole multiples of the step, also where a range holds none', () => {
  expect(gridOf({ start: 31_000, end: 92_000 }, 15)).toEqual({ start: 45, step: 15, count: 4 });
  expect(gridOf({ start: 31_000, end: 32_000 }, 15)).toEqual({ start: 45, step: 15, count: 1 });
});
