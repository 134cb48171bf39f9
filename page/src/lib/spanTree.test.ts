import { describe, expect, it } from 'vitest';
import { ancestorIds, buildTree, flatten } from './spanTree';
import { span } from './testing';

const ids = (tree: ReturnType<typeof buildTree>, collapsed: string[] = []): string[] =>
  flatten(tree.roots, new Set(collapsed)).map((node) => node.span.span_id);

describe('buildTree', () => {
  it('puts children under their parents by start, whatever the order they come in', () => {
    const tree = buildTree([
      span('c', 'a', 5, 1),
      span('d', 'b', 3, 1),
      span('b', 'a', 2, 9),
      span('a', null, 0, 10),
    ]);
    expect(ids(tree)).toEqual(['a', 'b', 'd', 'c']);
    expect(tree.byId.get('d')?.depth).toBe(2);
  });

  it('counts what lies below a span, and how much of it failed', () => {
    const tree = buildTree([span('a', null, 0, 9), span('b', 'a', 1, 5), span('c', 'b', 2, 1, true)]);
    expect(tree.roots[0]).toMatchObject({ descendants: 2, errorsBelow: 1 });
  });

  it('makes a root of a span whose parent is missing', () => {
    expect(ids(buildTree([span('a', 'gone', 0, 1), span('b', 'a', 0, 1)]))).toEqual(['a', 'b']);
  });

  it('keeps every span exactly once when parents form a circle or ids repeat', () => {
    const circle = buildTree([span('a', 'b', 0, 1), span('b', 'a', 0, 1), span('s', 's', 0, 1)]);
    expect(ids(circle).sort()).toEqual(['a', 'b', 's']);
    expect(ids(buildTree([span('a', null, 0, 1), span('a', null, 1, 1)]))).toEqual(['a', 'a']);
  });

  it('takes a chain of 5,000 spans', () => {
    const chain = Array.from({ length: 5000 }, (_, i) => span(`${i}`, i ? `${i - 1}` : null, i, 1));
    const tree = buildTree(chain);
    expect(tree.byId.get('4999')?.depth).toBe(4999);
    expect(tree.roots[0]?.descendants).toBe(4999);
  });
});

describe('flatten', () => {
  const tree = buildTree([
    span('a', null, 0, 9),
    span('b', 'a', 1, 5),
    span('c', 'b', 2, 1),
    span('d', 'a', 7, 1),
  ]);

  it('leaves out what is below a collapsed span', () => {
    expect(ids(tree, ['b'])).toEqual(['a', 'b', 'd']);
  });

  it('has every ancestor named that must be open for a span to show', () => {
    const node = tree.byId.get('c');
    expect(node && ancestorIds(node)).toEqual(['b', 'a']);
  });
});
