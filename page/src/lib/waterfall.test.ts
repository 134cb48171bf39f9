import { describe, expect, it } from 'vitest';
import { buildTree, flatten } from './spanTree';
import { span } from './testing';
import { moveBy, ROW_PX, share, visibleEvents, visibleRows, visibleStretches } from './waterfall';

const tree = buildTree([
  span('a', null, 0, 9),
  span('b', 'a', 1, 5),
  span('c', 'b', 2, 1),
  span('d', 'a', 7, 1),
]);

function press(key: string, from: string, collapsed: string[] = []): string {
  const closed = new Set(collapsed);
  const move = moveBy(key, flatten(tree.roots, closed), tree.byId.get(from) ?? null, closed, 2);
  if (!move) return 'nothing';
  return Object.entries(move)
    .map(([does, node]) => `${does} ${node.span.span_id}`)
    .join();
}

describe('keys in the waterfall', () => {
  it.each([
    ['ArrowDown', 'a', [], 'select b'],
    ['ArrowDown', 'd', [], 'nothing'],
    ['ArrowDown', '', [], 'select a'],
    ['ArrowUp', 'b', [], 'select a'],
    ['ArrowDown', 'b', ['b'], 'select d'],
    ['ArrowLeft', 'b', [], 'collapse b'],
    ['ArrowLeft', 'b', ['b'], 'select a'],
    ['ArrowLeft', 'd', [], 'select a'],
    ['ArrowRight', 'b', ['b'], 'open b'],
    ['ArrowRight', 'a', [], 'select b'],
    ['ArrowRight', 'd', [], 'nothing'],
    ['End', 'a', [], 'select d'],
    ['Home', 'd', [], 'select a'],
    ['PageDown', 'a', [], 'select c'],
    ['x', 'a', [], 'nothing'],
  ])('%s on "%s" with %j closed: %s', (key, from, collapsed, expected) => {
    expect(press(key, from, collapsed)).toBe(expected);
  });
});

it('draws only rows in sight and a few beyond', () => {
  expect(visibleRows(5000, 0, 520, 10)).toEqual([0, 30]);
  expect(visibleRows(5000, 1000 * ROW_PX, 520, 10)).toEqual([990, 1030]);
  expect(visibleRows(5, 0, 520, 10)).toEqual([0, 5]);
  expect(visibleRows(0, 900, 520, 10)).toEqual([0, 0]);
});

it('draws stretches a pixel apart or more, and those in view', () => {
  const stretches = Array.from({ length: 5000 }, (_, i) => ({ from: i * 10, to: i * 10 + 9 }));
  expect(visibleStretches(stretches, { from: 0, to: 50_000 }, 500)).toEqual([{ from: 0, to: 49_999 }]);
  expect(visibleStretches(stretches, { from: 100, to: 125 }, 500)).toHaveLength(3);
});

it('draws one event a pixel, rather the exception', () => {
  const event = (offset_ns: number, name: string) => ({
    time: '',
    offset_ns,
    name,
    attributes: {},
    dropped_attributes_count: 0,
  });
  const events = [event(0, 'a'), event(1, 'exception'), event(2, 'b'), event(90, 'c'), event(2000, 'd')];
  const names = visibleEvents(events, { from: 0, to: 1000 }, 100).map(({ name }) => name);
  expect(names).toEqual(['exception', 'c']);
});

it('tells a duration as a share of what is in view', () => {
  expect(share(25, { from: 100, to: 200 })).toBe('25.0000%');
});
