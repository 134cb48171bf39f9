/** Scales and their ticks for the charts we draw ourselves. */

/** Maps a value of `[low, high]` to `[from, to]` linearly. */
export function linear(low: number, high: number, from: number, to: number): (value: number) => number {
  const slope = high > low ? (to - from) / (high - low) : 0;
  return (value) => from + (value - low) * slope;
}

/** About `count` round numbers (1, 2 or 5 times a power of ten apart) within `[low, high]`. */
export function linearTicks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5].find((one) => one * power >= raw) ?? 10);
  const ticks: number[] = [];
  // Adding zero makes 0 of −0.
  for (let i = Math.ceil(low / step - 1e-9) + 0; i * step <= high + step * 1e-9; i++) ticks.push(i * step);
  return ticks;
}

/** Powers of ten within `[low, high]`; with 2 and 5 times them when there are fewer than three. */
export function logTicks(low: number, high: number): number[] {
  const ticks = (factors: number[]): number[] => {
    const found: number[] = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const factor of factors) {
        const tick = factor * 10 ** power;
        if (tick >= low && tick <= high) found.push(tick);
      }
    }
    return found;
  };
  const decades = ticks([1]);
  return decades.length >= 3 ? decades : ticks([1, 2, 5]);
}

const TIME_STEPS_MS = [
  100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3, 3600e3, 7200e3,
  10800e3, 21600e3, 43200e3, 86400e3, 172800e3, 604800e3,
];

/** Round local times within `[start, end]`, at most `count` of them, and the step between them. */
export function timeTicks(start: number, end: number, count: number): { ticks: number[]; step: number } {
  const step = TIME_STEPS_MS.find((one) => (end - start) / one <= count) ?? 2_592_000e3;
  const offset = new Date(start).getTimezoneOffset() * 60_000;
  const ticks: number[] = [];
  for (let tick = Math.ceil((start - offset) / step) * step + offset; tick <= end; tick += step)
    ticks.push(tick);
  return { ticks, step };
}
