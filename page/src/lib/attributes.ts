/** Attribute values: their type's name, and their text for reading and for the clipboard. */

import type { AttributeValue } from '../api/types';

export type ValueType = 'string' | 'int' | 'double' | 'bool' | 'bytes' | 'array' | 'map' | 'empty';

export function typeOf(value: AttributeValue): ValueType {
  if (value === null) return 'empty';
  if (typeof value === 'string') return 'string';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'double';
  if (Array.isArray(value)) return 'array';
  return bytesOf(value) === null ? 'map' : 'bytes';
}

/** The Base64 text of a value that is bytes, else null. */
function bytesOf(value: { [key: string]: AttributeValue }): string | null {
  const text = value['$bytes'];
  return typeof text === 'string' && Object.keys(value).length === 1 ? text : null;
}

/** The value as text: strings bare, bytes in Base64, arrays and maps as JSON. */
export function valueText(value: AttributeValue): string {
  if (typeof value === 'string') return value;
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    return bytesOf(value) ?? JSON.stringify(value, null, 1).replace(/\n\s*/g, ' ');
  }
  return JSON.stringify(value);
}

/** A log record's body on one line. */
export function bodyText(body: AttributeValue): string {
  return body === null ? '' : valueText(body);
}
