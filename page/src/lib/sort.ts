/** Sorting a table by one of its columns. */

export type Sortable = string | number | null;

/** Sorts a copy, nulls last either way. The first click on figures wants the largest first; on names, A first. */
export function sortRows<T>(rows: readonly T[], key: (row: T) => Sortable, descending: boolean): T[] {
  return [...rows].sort((a, b) => {
    const x = key(a);
    const y = key(b);
    if (x === null || y === null) return Number(x === null) - Number(y === null);
    const order = typeof x === 'string' && typeof y === 'string' ? x.localeCompare(y) : Number(x) - Number(y);
    return descending ? -order : order;
  });
}
