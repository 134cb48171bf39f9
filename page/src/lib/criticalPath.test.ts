import { describe, expect, it } from 'vitest';
import type { Span } from '../api/types';
import { criticalPath } from './criticalPath';
import { buildTree } from './spanTree';
import { span } from './testing';

function pathOf(spans: Span[]): Record<string, [number, number][]> {
  const [root] = buildTree(spans).roots;
  if (!root) throw new Error('no root');
  const path = criticalPath(root);
  return Object.fromEntries([...path].map(([id, own]) => [id, own.map(({ from, to }) => [from, to])]));
}

describe('criticalPath', () => {
  it('is the whole of a span without children', () => {
    expect(pathOf([span('a', null, 0, 10)])).toEqual({ a: [[0, 10]] });
  });

  it('goes through children that follow one another, and the gaps between them', () => {
    expect(pathOf([span('a', null, 0, 100), span('b', 'a', 10, 30), span('c', 'a', 50, 40)])).toEqual({
      a: [
        [0, 10],
        [40, 50],
        [90, 100],
      ],
      b: [[10, 40]],
      c: [[50, 90]],
    });
  });

  it('follows only the last to end of children that run side by side', () => {
    const path = pathOf([span('a', null, 0, 100), span('fast', 'a', 10, 20), span('slow', 'a', 10, 80)]);
    expect(path['slow']).toEqual([[10, 90]]);
    expect(path['fast']).toBeUndefined();
  });

  it('cuts work that outlives its parent at the parent’s end', () => {
    const path = pathOf([span('a', null, 0, 50), span('late', 'a', 20, 100)]);
    expect(path).toEqual({ a: [[0, 20]], late: [[20, 50]] });
  });

  it('covers the root’s duration exactly, without overlap', () => {
    const spans = [span('r', null, 0, 1000)];
    for (let i = 0; i < 200; i++)
      spans.push(span(`${i}`, i < 10 ? 'r' : `${i % 10}`, (i * 37) % 900, (i * 53) % 400));
    const stretches = Object.values(pathOf(spans))
      .flat()
      .sort(([a], [b]) => a - b);
    let at = 0;
    for (const [from, to] of stretches) {
      expect(from).toBe(at);
      at = to;
    }
    expect(at).toBe(1000);
  });
});
