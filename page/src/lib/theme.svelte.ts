/** Dark or light: the system's wish until one is chosen here, which is remembered. */

export type Theme = 'dark' | 'light';

const KEY = 'watchkeeper.theme';
const system = matchMedia('(prefers-color-scheme: dark)');

function remembered(): Theme | null {
  try {
    const text = localStorage.getItem(KEY);
    return text === 'dark' || text === 'light' ? text : null;
  } catch {
    return null; // storage is switched off
  }
}

class ThemeChoice {
  private chosen = $state<Theme | null>(remembered());
  private systemDark = $state(system.matches);
  current: Theme = $derived(this.chosen ?? (this.systemDark ? 'dark' : 'light'));

  constructor() {
    system.addEventListener('change', () => (this.systemDark = system.matches));
  }

  toggle(): void {
    this.chosen = this.current === 'dark' ? 'light' : 'dark';
    try {
      localStorage.setItem(KEY, this.chosen);
    } catch {
      // storage is switched off: the choice lasts as long as the page
    }
  }
}

export const theme = new ThemeChoice();
