import { describe, expect, it } from 'vitest';
import type { Metric } from '../api/types';
import { errorPlace, exploreQuery, families, selector, suggestions } from './promql';

function metric(name: string, type: string, series = 1): Metric {
  return { name, type, unit: '', help: '', series };
}

describe('a selector', () => {
  it.each([
    ['up', [], 'up'],
    ['up', [['job', 'a "b"\\']], 'up{job="a \\"b\\"\\\\"}'],
    ['http.requests', [], '{"http.requests"}'],
    ['http.requests', [['http.route', '/a']], '{"http.requests", "http.route"="/a"}'],
  ] as const)('of %s with %j is %s', (name, matchers, text) => {
    expect(
      selector(
        name,
        matchers.map(([label, value]) => [label, value]),
      ),
    ).toBe(text);
  });
});

describe('what suits a metric', () => {
  it.each([
    [[metric('hits_total', 'counter')], 'rate(hits_total[5m])'],
    [[metric('depth', 'gauge')], 'depth'],
    [[metric('hits_total', 'unknown')], 'rate(hits_total[5m])'],
    [
      [metric('t_bucket', 'histogram'), metric('t_sum', 'histogram'), metric('t_count', 'histogram')],
      'histogram_quantile(0.95, sum by (le) (rate(t_bucket[5m])))',
    ],
    [[metric('t', 'histogram')], 'histogram_quantile(0.95, sum(rate(t[5m])))'],
    [
      [metric('t', 'histogram'), metric('t_bucket', 'histogram')],
      'histogram_quantile(0.95, sum(rate(t[5m])))',
    ],
    [[metric('s', 'summary'), metric('s_count', 'summary')], 's'],
  ])('%j is %s', (metrics, query) => {
    const [family, ...others] = families(metrics);
    expect(others).toEqual([]);
    expect(family && suggestions(family)[0]?.query).toBe(query);
  });

  it('keeps its conditions', () => {
    const [family] = families([metric('hits_total', 'counter')]);
    expect(family && suggestions(family, [['job', 'shop']])[0]?.query).toBe(
      'rate(hits_total{job="shop"}[5m])',
    );
  });

  it('counts the series of a whole family', () => {
    const parts = [metric('t_bucket', 'histogram', 10), metric('t_count', 'histogram', 2)];
    expect(families(parts)).toMatchObject([{ name: 't', series: 12 }]);
  });
});

describe('the place of an error', () => {
  it.each([
    ['sum(up', '1:7: parse error: unclosed left parenthesis', 5, 6],
    ['rate(up)\n+ foo bar', '2:7: parse error: unexpected identifier "bar"', 15, 18],
    ['label_replace("😀", nope', '1:20: parse error: x', 20, 24],
  ])('in %j, %j', (query, message, from, to) => {
    expect(errorPlace(query, `invalid parameter "query": ${message}`)).toMatchObject({ from, to });
  });

  it('is none where the message names none', () => {
    expect(errorPlace('up', 'query timed out')).toBeNull();
  });
});

describe('an older address', () => {
  it.each([
    ['/metrics', 'metric=queue_depth', { q: 'queue_depth' }],
    ['/metrics', 'metric=hits&label=a%3Db%3Dc&rate=on', { q: 'rate(hits{a="b=c"}[5m])' }],
    ['/metrics', '', {}],
    ['/graph', 'g0.expr=up+%3D%3D+0&g0.tab=1', { q: ['up == 0'], tab: 'table', range: '' }],
    ['/query', 'g0.expr=up&g1.expr=b&g0.range_input=6h', { q: ['up', 'b'], tab: '', range: '6h' }],
    ['/explore', 'q=up', null],
  ])('%s?%s', (path, query, expected) => {
    expect(exploreQuery(path, new URLSearchParams(query))).toEqual(expected);
  });
});
