/** The critical path of a trace: the stretches of time that, made shorter, would have made the root shorter. */

import type { SpanNode } from './spanTree';

/** A stretch during which one span, and none of its children, held the trace up. Nanoseconds from its start. */
export interface Stretch {
  from: number;
  to: number;
}

/**
 * Walks each span backwards from its end: the child that ended last before that moment was being waited for, so the
 * path goes through it, then on from its start. A child is cut to its parent's time: work may be left running, and
 * clocks differ. Returns the stretches by span id; together they cover the root's duration without overlap.
 */
export function criticalPath(root: SpanNode): Map<string, Stretch[]> {
  const path = new Map<string, Stretch[]>();
  const waiting = [{ node: root, from: root.span.offset_ns, until: endOf(root) }];
  for (let step = waiting.pop(); step; step = waiting.pop()) {
    const { node, from, until } = step;
    let cursor = until;
    const own: Stretch[] = [];
    for (const child of [...node.children].sort((a, b) => endOf(b) - endOf(a))) {
      const begins = Math.max(child.span.offset_ns, from);
      const ends = Math.min(endOf(child), until);
      if (ends > cursor || begins >= ends) continue;
      if (cursor > ends) own.push({ from: ends, to: cursor });
      waiting.push({ node: child, from: begins, until: ends });
      cursor = begins;
    }
    if (cursor > from) own.push({ from, to: cursor });
    path.set(node.span.span_id, own.reverse());
  }
  return path;
}

function endOf(node: SpanNode): number {
  return node.span.offset_ns + node.span.duration_ns;
}
