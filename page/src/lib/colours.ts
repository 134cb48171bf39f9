/** Each service keeps one of twelve colours, on every page and on every visit of this browser. */

/** The hues of app.css's `--series-0` and on, in degrees. */
export const HUES = [235, 80, 305, 150, 195, 265, 110, 320, 215, 170, 285, 60] as const;
const KEY = 'watchkeeper.colours';

/**
 * The slot of a new name beside those taken: the one whose hue is furthest from theirs, and among equals the first
 * from where the name hashes to (FNV-1a). Once all are taken they are shared.
 */
export function pickSlot(name: string, taken: ReadonlySet<number>): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  const wanted = (hash >>> 0) % HUES.length;
  if (taken.size === 0 || taken.size >= HUES.length) return wanted;
  let best = wanted;
  let furthest = -1;
  for (let i = 0; i < HUES.length; i++) {
    const slot = (wanted + i) % HUES.length;
    const distance = Math.min(...[...taken].map((other) => hueDistance(slot, other)));
    if (distance > furthest) {
      furthest = distance;
      best = slot;
    }
  }
  return best;
}

/** Degrees between two slots' hues, round the circle. */
function hueDistance(a: number, b: number): number {
  const degrees = Math.abs((HUES[a] ?? 0) - (HUES[b] ?? 0));
  return Math.min(degrees, 360 - degrees);
}

const slots = new Map<string, number>(remembered());

function remembered(): [string, number][] {
  try {
    return Object.entries(JSON.parse(localStorage.getItem(KEY) ?? '{}') as Record<string, number>);
  } catch {
    return []; // storage is switched off or holds something else: colours are chosen anew
  }
}

/** The CSS colour of a service. */
export function serviceColour(name: string): string {
  return `var(--series-${serviceSlot(name)})`;
}

function serviceSlot(name: string): number {
  let slot = slots.get(name);
  if (slot === undefined) {
    slot = pickSlot(name, new Set(slots.values()));
    slots.set(name, slot);
    try {
      localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(slots)));
    } catch {
      // storage is switched off: the choice lasts as long as the page
    }
  }
  return slot;
}
