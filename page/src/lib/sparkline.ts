/** SVG paths for small charts without axes. */

/** A line through the values, broken where they are null; empty when fewer than one can be drawn. */
export function linePath(
  values: readonly (number | null)[],
  top: number,
  width: number,
  height: number,
): string {
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  let path = '';
  let drawing = false;
  values.forEach((value, i) => {
    if (value === null) {
      drawing = false;
      return;
    }
    const y = top > 0 ? height - (value / top) * height : height;
    const alone = !drawing && (i + 1 >= values.length || values[i + 1] === null);
    path += `${drawing ? 'L' : 'M'}${(i * step).toFixed(1)} ${y.toFixed(1)}`;
    if (alone) path += 'h0.01';
    drawing = true;
  });
  return path;
}

/** Bars from the bottom, one per value above zero, at least one pixel high so that none is missed. */
export function barPath(values: readonly number[], top: number, width: number, height: number): string {
  const step = width / Math.max(1, values.length);
  const thickness = Math.max(1, step - 1);
  return values
    .map((value, i) => {
      if (value <= 0 || top <= 0) return '';
      const size = Math.max(1, (value / top) * height);
      return `M${(i * step).toFixed(1)} ${height}v${(-size).toFixed(1)}h${thickness.toFixed(1)}v${size.toFixed(1)}z`;
    })
    .join('');
}
