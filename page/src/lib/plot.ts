/** What our uPlot charts have in common: colours of the theme, a time axis, and zooming by dragging. */

import uPlot from 'uplot';
import type { Window } from '../api/client';
import { formatTick } from './format';
import type { Unit } from './units';

/** The value of a CSS variable of the theme in force. */
export function css(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(): uPlot.Axis {
  return {
    stroke: () => css('--faint'),
    grid: { stroke: () => css('--line'), width: 1 },
    ticks: { show: false },
    font: `11px ${css('--font')}`,
  };
}

export function timeAxis(): uPlot.Axis {
  return {
    ...axis(),
    grid: { show: false },
    size: 32,
    space: 90,
    values: (_, ticks) => {
      const step = ((ticks[1] ?? 0) - (ticks[0] ?? 0)) * 1000;
      return ticks.map((tick) => formatTick(tick * 1000, step));
    },
  };
}

const DECIMAL = Array.from({ length: 30 }, (_, i) => [1, 2, 5].map((one) => one * 10 ** (i - 12))).flat();
const BINARY = Array.from({ length: 60 }, (_, i) => 2 ** i);
const SECONDS = [
  ...DECIMAL.filter((one) => one < 10),
  ...[10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200],
  ...DECIMAL.filter((one) => one >= 1 && one < 1e9).map((one) => one * 86_400),
];

/** Round distances between ticks are powers of two for bytes, and minutes and hours for long durations. */
function increments({ unit, perSecond }: Unit): number[] {
  if (unit === 'bytes') return BINARY;
  return unit === 'seconds' && !perSecond ? SECONDS : DECIMAL;
}

export function valueAxis(unit: Unit, format: (value: number) => string): uPlot.Axis {
  return {
    ...axis(),
    size: 76,
    incrs: increments(unit),
    values: (_, ticks) => ticks.map(format),
  };
}

/** An axis whose ticks are chosen by the chart itself. */
export function rowAxis(splits: () => number[], format: (value: number) => string): uPlot.Axis {
  return { ...axis(), grid: { show: false }, size: 76, splits, values: (_, ticks) => ticks.map(format) };
}

/** Tells of a stretch of time that was dragged over. */
export function zoomHook(onselect: (window: Window) => void): (plot: uPlot) => void {
  return (plot) => {
    if (plot.select.width < 4) return;
    const start = Math.floor(plot.posToVal(plot.select.left, 'x') * 1000);
    const end = Math.ceil(plot.posToVal(plot.select.left + plot.select.width, 'x') * 1000);
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    onselect({ start, end });
  };
}

/** Where the plot's area begins within its element, and its size, in CSS pixels. */
export function plotArea(plot: uPlot): { left: number; top: number; width: number; height: number } {
  const { left, top, width, height } = plot.bbox;
  const ratio = uPlot.pxRatio;
  return { left: left / ratio, top: top / ratio, width: width / ratio, height: height / ratio };
}
