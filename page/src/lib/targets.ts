/** What is scraped, by pool, and which of it is asked for. */

import type { LabelSet, Target, TargetHealth } from '../api/prometheusTypes';

export const HEALTHS: readonly TargetHealth[] = ['up', 'down', 'unknown'];

export interface Pool {
  name: string;
  targets: Target[];
  /** Of all its targets, shown or not. */
  counts: Record<TargetHealth, number>;
}

export interface TargetFilter {
  /** '' is any. */
  pool: string;
  health: string;
  words: string;
}

/** How many targets are in each state. */
export function healthCounts(targets: readonly Target[]): Record<TargetHealth, number> {
  const counts = { up: 0, down: 0, unknown: 0 };
  for (const target of targets) counts[target.health] += 1;
  return counts;
}

/** The pools with the targets that match, those that are not up first; pools without any are left out when filtered. */
export function poolsOf(names: readonly string[], targets: readonly Target[], filter: TargetFilter): Pool[] {
  const all = [...new Set([...names, ...targets.map((target) => target.scrapePool)])].sort();
  const filtered = filter.health !== '' || filter.words !== '';
  return all
    .filter((name) => filter.pool === '' || filter.pool === name)
    .map((name) => {
      const own = targets.filter((target) => target.scrapePool === name);
      const shown = own.filter((target) => matches(target, filter)).sort(byTrouble);
      return { name, targets: shown, counts: healthCounts(own) };
    })
    .filter((pool) => pool.targets.length > 0 || !filtered);
}

/** Whether all words occur in the target's address, labels or error, in any case. */
function matches(target: Target, { health, words }: TargetFilter): boolean {
  if (health !== '' && target.health !== health) return false;
  const text = `${target.scrapeUrl} ${labelTexts(target.labels).join(' ')} ${target.lastError}`.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

function byTrouble(a: Target, b: Target): number {
  const order = HEALTHS.indexOf(b.health) - HEALTHS.indexOf(a.health);
  const rank = Number(b.health === 'down') - Number(a.health === 'down');
  return rank || order || (a.scrapeUrl < b.scrapeUrl ? -1 : 1);
}

export function labelTexts(labels: LabelSet): string[] {
  return Object.entries(labels).map(([name, value]) => `${name}=${value}`);
}

/** When the last scrape began, in milliseconds; null before the first one, which Prometheus writes as the year 1. */
export function lastScrape(target: Target): number | null {
  const time = Date.parse(target.lastScrape);
  return time > 0 ? time : null;
}
