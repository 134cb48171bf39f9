/** A trace's spans as a tree, and the rows of that tree which are open to view. */

import type { Span } from '../api/types';

export interface SpanNode {
  span: Span;
  depth: number;
  parent: SpanNode | null;
  children: SpanNode[];
  /** How many spans lie below it, at any depth. */
  descendants: number;
  /** How many of those failed. */
  errorsBelow: number;
}

export interface SpanTree {
  /** Spans without a parent in this trace, by start: one when the trace is whole. */
  roots: SpanNode[];
  /** Every node, by its span's id. */
  byId: Map<string, SpanNode>;
}

/**
 * Builds the tree from spans in any order. A span whose parent is absent, is itself, or descends from it
 * becomes a root, so that every span is in the tree exactly once whatever was sent.
 */
export function buildTree(spans: readonly Span[]): SpanTree {
  const byId = new Map<string, SpanNode>();
  const nodes: SpanNode[] = [];
  for (const span of spans) {
    const node: SpanNode = { span, depth: 0, parent: null, children: [], descendants: 0, errorsBelow: 0 };
    nodes.push(node);
    if (!byId.has(span.span_id)) byId.set(span.span_id, node);
  }
  const roots: SpanNode[] = [];
  for (const node of nodes) {
    const parent = byId.get(node.span.parent_span_id ?? '');
    if (parent && !isWithin(parent, node)) {
      node.parent = parent;
      parent.children.push(node);
    } else {
      roots.push(node);
    }
  }
  const byStart = (a: SpanNode, b: SpanNode): number =>
    a.span.offset_ns - b.span.offset_ns || b.span.duration_ns - a.span.duration_ns;
  roots.sort(byStart);
  for (const node of nodes) node.children.sort(byStart);
  const ordered = flatten(roots, new Set());
  for (const node of ordered) node.depth = node.parent ? node.parent.depth + 1 : 0;
  for (const node of ordered.reverse()) {
    if (!node.parent) continue;
    node.parent.descendants += node.descendants + 1;
    node.parent.errorsBelow += node.errorsBelow + (node.span.status.code === 'error' ? 1 : 0);
  }
  return { roots, byId };
}

function isWithin(node: SpanNode, ancestor: SpanNode): boolean {
  for (let one: SpanNode | null = node; one; one = one.parent) if (one === ancestor) return true;
  return false;
}

/** The nodes in reading order, without those below a collapsed one. Needs no recursion: traces can be deep. */
export function flatten(roots: readonly SpanNode[], collapsed: ReadonlySet<string>): SpanNode[] {
  const rows: SpanNode[] = [];
  const waiting = [...roots].reverse();
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    rows.push(node);
    if (collapsed.has(node.span.span_id)) continue;
    for (let i = node.children.length - 1; i >= 0; i--) {
      const child = node.children[i];
      if (child) waiting.push(child);
    }
  }
  return rows;
}

/** The ids of a node's ancestors, which must be open for it to be seen. */
export function ancestorIds(node: SpanNode): string[] {
  const ids: string[] = [];
  for (let one = node.parent; one; one = one.parent) ids.push(one.span.span_id);
  return ids;
}
