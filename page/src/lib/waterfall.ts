/** Moving through a waterfall by keys, and which of its parts are to be drawn. */

import type { SpanEvent } from '../api/types';
import type { Stretch } from './criticalPath';
import type { SpanNode } from './spanTree';

export const ROW_PX = 26;

/** The rows in sight and a few beyond them: `[first, end)`. */
export function visibleRows(count: number, scrollTop: number, height: number, extra = 12): [number, number] {
  const first = Math.max(0, Math.floor(scrollTop / ROW_PX) - extra);
  return [Math.min(first, count), Math.min(count, Math.ceil((scrollTop + height) / ROW_PX) + extra)];
}

export type Move = { select: SpanNode } | { collapse: SpanNode } | { open: SpanNode } | null;

/**
 * What a key does, as in any tree: up and down go through the rows, left closes or goes to the parent, right opens
 * or goes to the first child, Home and End to the ends, PageUp and PageDown by `page` rows.
 */
export function moveBy(
  key: string,
  rows: readonly SpanNode[],
  selected: SpanNode | null,
  collapsed: ReadonlySet<string>,
  page: number,
): Move {
  const at = selected ? rows.indexOf(selected) : -1;
  const to = (index: number): Move => {
    const node = rows[Math.max(0, Math.min(rows.length - 1, index))];
    return node && node !== selected ? { select: node } : null;
  };
  switch (key) {
    case 'ArrowDown':
      return to(at + 1);
    case 'ArrowUp':
      return to(at < 0 ? 0 : at - 1);
    case 'PageDown':
      return to(Math.max(0, at) + page);
    case 'PageUp':
      return to(at - page);
    case 'Home':
      return to(0);
    case 'End':
      return to(rows.length - 1);
    case 'ArrowLeft':
      if (selected && selected.children.length > 0 && !collapsed.has(selected.span.span_id)) {
        return { collapse: selected };
      }
      return selected?.parent ? { select: selected.parent } : null;
    case 'ArrowRight': {
      if (!selected) return to(0);
      if (collapsed.has(selected.span.span_id)) return { open: selected };
      const [child] = selected.children;
      return child ? { select: child } : null;
    }
    default:
      return null;
  }
}

/** A duration as a share of the range in view, as CSS takes it. */
export function share(ns: number, range: Stretch): string {
  return `${((ns / (range.to - range.from)) * 100).toFixed(4)}%`;
}

/** The stretches in view, those less than a pixel apart made one: there can be thousands, and `width` pixels only. */
export function visibleStretches(stretches: readonly Stretch[], range: Stretch, width: number): Stretch[] {
  const pixel = (range.to - range.from) / Math.max(1, width);
  const seen: Stretch[] = [];
  for (const { from, to } of stretches) {
    if (to < range.from || from > range.to) continue;
    const last = seen.at(-1);
    if (last && from - last.to < pixel) last.to = to;
    else seen.push({ from, to });
  }
  return seen;
}

/** The events in view, no more than one a pixel; of those that would cover each other the first, or an exception. */
export function visibleEvents(events: readonly SpanEvent[], range: Stretch, width: number): SpanEvent[] {
  const pixel = (range.to - range.from) / Math.max(1, width);
  const byPixel = new Map<number, SpanEvent>();
  for (const event of events) {
    if (event.offset_ns < range.from || event.offset_ns > range.to) continue;
    const place = Math.floor((event.offset_ns - range.from) / pixel);
    if (!byPixel.has(place) || event.name === 'exception') byPixel.set(place, event);
  }
  return [...byPixel.values()];
}
