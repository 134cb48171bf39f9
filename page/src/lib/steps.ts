/** How far apart the moments lie that a range query is evaluated at. */

import type { Window } from '../api/client';
import type { Grid } from '../api/prometheus';

const STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
] as const;

/** What may be chosen instead of the automatic step. */
export const STEP_CHOICES = ['1s', '5s', '15s', '30s', '1m', '5m', '15m', '1h'] as const;

/** Closer than this many pixels, points only thicken the line. */
const PIXELS_PER_POINT = 3;

/** The smallest round step, in seconds, whose points lie far enough apart in a chart of `width` pixels. */
export function autoStep(window: Window, width: number): number {
  const seconds = (window.end - window.start) / 1000;
  const most = Math.max(50, width / PIXELS_PER_POINT);
  return STEPS.find((step) => seconds / step <= most) ?? 86_400 * Math.ceil(seconds / most / 86_400);
}

/** The moments within a range that are whole multiples of the step, so that a line does not waver as time moves on. */
export function gridOf(window: Window, step: number): Grid {
  const first = Math.ceil(window.start / 1000 / step);
  const last = Math.max(first, Math.floor(window.end / 1000 / step));
  return { start: first * step, step, count: last - first + 1 };
}
