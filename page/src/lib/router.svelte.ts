/** The page's address as state: what is shown depends on it alone, so a copied address shows the same. */

class Router {
  path = $state(location.pathname);
  query = $state.raw(new URLSearchParams(location.search));

  constructor() {
    addEventListener('popstate', () => this.read());
    addEventListener('click', (event) => this.follow(event));
  }

  private read(): void {
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
  }

  /** Goes to an address of this page. `replace` leaves no step for the back button. */
  go(href: string, { replace = false } = {}): void {
    if (replace) history.replaceState(null, '', href);
    else history.pushState(null, '', href);
    this.read();
  }

  /** Sets (a list repeats) or, with null and '', removes parameters of the present address. */
  set(changes: Record<string, string | string[] | null>, options: { replace?: boolean } = {}): void {
    const href = this.path + search(this.query, changes);
    if (href !== location.pathname + location.search) this.go(href, options);
  }

  get(name: string): string {
    return this.query.get(name) ?? '';
  }

  getAll(name: string): string[] {
    return this.query.getAll(name);
  }

  /** An address that keeps the time range and refreshing of the present one. */
  link(path: string, parameters: Record<string, string | string[] | null> = {}): string {
    const kept = new URLSearchParams();
    for (const name of ['range', 'from', 'to', 'refresh']) {
      const value = this.query.get(name);
      if (value !== null) kept.set(name, value);
    }
    return path + search(kept, parameters);
  }

  /** Follows plain clicks on links within the page without loading it again. */
  private follow(event: MouseEvent): void {
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (!link || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.origin !== location.origin || link.target || link.pathname.startsWith('/api/')) return;
    event.preventDefault();
    this.go(link.pathname + link.search);
  }
}

function search(query: URLSearchParams, changes: Record<string, string | string[] | null>): string {
  const changed = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    changed.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) if (one) changed.append(name, one);
  }
  const text = changed.toString();
  return text && `?${text}`;
}

export const router = new Router();
