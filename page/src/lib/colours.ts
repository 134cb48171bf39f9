/** Each service keeps one of twelve colours, on every page and on every visit of this browser. */

export const SLOTS = 12;
const KEY = 'watchkeeper.colours';

/** The slot a name hashes to (FNV-1a), or the first free one after it; taken slots are shared once all are. */
export function pickSlot(name: string, taken: ReadonlySet<number>): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  const wanted = (hash >>> 0) % SLOTS;
  for (let i = 0; i < SLOTS; i++) {
    const slot = (wanted + i) % SLOTS;
    if (!taken.has(slot)) return slot;
  }
  return wanted;
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
