/** The keys that work on every page. */

export const KEYS: { keys: string[]; does: string }[] = [
  { keys: ['/'], does: 'Go to the search box' },
  { keys: ['g', 's'], does: 'Services' },
  { keys: ['g', 't'], does: 'Traces' },
  { keys: ['g', 'l'], does: 'Logs' },
  { keys: ['g', 'e'], does: 'Explore' },
  { keys: ['g', 'a'], does: 'Targets' },
  { keys: ['r'], does: 'Refresh now' },
  { keys: ['d'], does: 'Dark or light' },
  { keys: ['↑', '↓'], does: 'Waterfall: the span above or below' },
  { keys: ['←', '→'], does: 'Waterfall: close or open what is below a span' },
  { keys: ['2×'], does: 'Waterfall: double-click a span, or drag on the ruler, to zoom' },
  { keys: ['e'], does: 'Explore: go to the query' },
  { keys: ['Enter'], does: 'Explore: run what is written; with Shift, a new line' },
  { keys: ['Enter'], does: 'Waterfall: read the span’s details' },
  { keys: ['Esc'], does: 'Close what is open' },
  { keys: ['?'], does: 'This list' },
];

/** How long after `g` its second key may come. */
const SEQUENCE_MS = 1000;

export interface KeyActions {
  go(page: string): void;
  help(): void;
  refresh(): void;
  toggleTheme(): void;
}

const PAGES = { s: 'services', t: 'traces', l: 'logs', e: 'explore', a: 'targets' } as const;

/** Whether keys typed here are text. */
export function isField(target: EventTarget | null): target is HTMLElement {
  return target instanceof HTMLElement && target.matches('input, textarea, select, [contenteditable]');
}

/** Listens for the keys; returns a function that ends it. Keys typed into fields are left to them. */
export function listenForKeys(actions: KeyActions): () => void {
  let prefixAt = -Infinity;
  const onKey = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const { target } = event;
    if (isField(target)) {
      if (event.key === 'Escape') target.blur();
      return;
    }
    const afterPrefix = event.timeStamp - prefixAt < SEQUENCE_MS;
    prefixAt = -Infinity;
    if (afterPrefix && event.key in PAGES) actions.go(PAGES[event.key as keyof typeof PAGES]);
    else if (event.key === 'g') prefixAt = event.timeStamp;
    else if (event.key === '?') actions.help();
    else if (event.key === 'r') actions.refresh();
    else if (event.key === 'd') actions.toggleTheme();
    else if (event.key === '/') {
      const box = document.querySelector<HTMLInputElement>('[data-search]');
      if (!box) return;
      event.preventDefault();
      box.focus();
      box.select();
    }
  };
  addEventListener('keydown', onKey);
  return () => removeEventListener('keydown', onKey);
}
