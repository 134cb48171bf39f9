import { expect, it } from 'vitest';
import type { Target, TargetHealth } from '../api/prometheusTypes';
import { lastScrape, poolsOf } from './targets';

function target(scrapePool: string, health: TargetHealth, labels: Record<string, string> = {}): Target {
  return {
    discoveredLabels: {},
    labels,
    scrapePool,
    scrapeUrl: `http://${scrapePool}/metrics`,
    globalUrl: '',
    lastError: health === 'down' ? 'connection refused' : '',
    lastScrape: '0001-01-01T00:00:00Z',
    lastScrapeDuration: 0,
    health,
    scrapeInterval: '5s',
    scrapeTimeout: '4s',
  };
}

const targets = [target('a', 'up'), target('a', 'down'), target('b', 'up', { team: 'Shop' })];
const any = { pool: '', health: '', words: '' };

it('shows every pool, those that are down first within it', () => {
  const pools = poolsOf(['a', 'b', 'empty'], targets, any);
  expect(pools.map((pool) => pool.targets.map(({ health }) => health))).toEqual([['down', 'up'], ['up'], []]);
  expect(pools[0]?.counts).toEqual({ up: 1, down: 1, unknown: 0 });
});

it.each([
  [{ ...any, words: 'shop TEAM=' }, ['b']],
  [{ ...any, words: 'refused' }, ['a']],
  [{ ...any, health: 'up' }, ['a', 'b']],
  [{ ...any, pool: 'empty' }, ['empty']],
  [{ ...any, health: 'unknown' }, []],
])('with %j keeps the pools %j', (filter, names) => {
  expect(poolsOf(['a', 'b', 'empty'], targets, filter).map((pool) => pool.name)).toEqual(names);
});

it('knows what was never scraped', () => {
  expect(lastScrape(target('a', 'unknown'))).toBeNull();
});
