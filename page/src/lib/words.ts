/** Search words found in a text, for marking them. */

export interface Piece {
  text: string;
  found: boolean;
}

/** The text cut into pieces where any of the words occur, in any case. */
export function markWords(text: string, words: string): Piece[] {
  const wanted = words
    .split(/\s+/)
    .filter(Boolean)
    .map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  if (wanted.length === 0) return [{ text, found: false }];
  const parts = text.split(new RegExp(`(${wanted.join('|')})`, 'gi'));
  return parts.map((part, i) => ({ text: part, found: i % 2 === 1 })).filter((piece) => piece.text !== '');
}
