import { describe, expect, it } from 'vitest';
import * as format from './format';

describe('durations', () => {
  it.each([
    [0, '0'],
    [870, '870 ns'],
    [45_200, '45.2 µs'],
    [999_600, '1 ms'],
    [312_400_000, '312 ms'],
    [1_240_000_000, '1.24 s'],
    [59_990_000_000, '1 m'],
    [125_000_000_000, '2 m 5 s'],
    [12_000_000_000_000, '3 h 20 m'],
    [-1_500_000, '-1.5 ms'],
  ])('%d ns reads %s', (ns, text) => {
    expect(format.formatDuration(ns)).toBe(text);
  });

  it.each([
    ['250ms', 250e6],
    ['1.5s', 1.5e9],
    ['2 m', 120e9],
    ['.5s', 0.5e9],
    ['10', null],
    ['fast', null],
    ['-1s', null],
  ])('%s is read as %s', (text, ns) => {
    expect(format.parseDuration(text)).toBe(ns);
  });

  it('are written for the API so that it reads the same', () => {
    expect(format.durationParameter(12_345_678)).toBe('12.346ms');
    expect(format.parseDuration(format.durationParameter(3e9))).toBe(3e9);
  });
});

describe('figures', () => {
  it.each([
    [0, '0'],
    [0.0123, '0.0123'],
    [12.34, '12.3'],
    [4567, '4,567'],
    [45_678, '45.7 k'],
    [1_234_567, '1.23 M'],
    [Infinity, '∞'],
    [NaN, 'NaN'],
  ])('%d reads %s', (value, text) => {
    expect(format.formatNumber(value)).toBe(text);
  });

  it('never show a ratio above zero as zero', () => {
    expect(format.formatRatio(0)).toBe('0 %');
    expect(format.formatRatio(0.0433)).toBe('4.33 %');
    expect(format.formatRatio(0.00001)).toBe('< 0.01 %');
  });

  it('show rare rates per minute', () => {
    expect(format.formatRate(12.34)).toBe('12.3 /s');
    expect(format.formatRate(0.05)).toBe('3 /min');
  });

  it('follow a metric’s unit', () => {
    expect(format.formatValue(0.25, 'seconds')).toBe('250 ms');
    expect(format.formatValue(4 * 1024 ** 2, 'bytes')).toBe('4 MiB');
    expect(format.formatValue(0.5, 'ratio')).toBe('50 %');
    expect(format.formatValue(2, '', true)).toBe('2 /s');
  });
});

it('tells how long ago in one unit', () => {
  const texts = [0, 8, 300, 7200, 200_000].map((seconds) => format.formatAgo(0, seconds * 1000));
  expect(texts).toEqual(['now', '8 s ago', '5 min ago', '2 h ago', '2 d ago']);
});
