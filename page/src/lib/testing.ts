/** Makes spans for tests: the fields that matter are given, the rest are empty. */

import type { Span } from '../api/types';

export function span(
  id: string,
  parent: string | null,
  offset: number,
  duration: number,
  error = false,
): Span {
  return {
    trace_id: 'a'.repeat(32),
    span_id: id,
    parent_span_id: parent,
    name: id,
    kind: 'internal',
    service: 'shop',
    start: '2026-11-21T05:00:00.000000000Z',
    end: '2026-11-21T05:00:00.000000000Z',
    offset_ns: offset,
    duration_ns: duration,
    status: { code: error ? 'error' : 'unset', message: '' },
    attributes: {},
    events: [],
    links: [],
    scope: { name: '', version: '', attributes: {}, schema_url: '', dropped_attributes_count: 0 },
    resource: '',
    trace_state: '',
    flags: 0,
    dropped_attributes_count: 0,
    dropped_events_count: 0,
    dropped_links_count: 0,
  };
}
