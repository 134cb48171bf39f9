/** Severities, from the least to the most severe, as the API names them. */

export const SEVERITIES = ['unset', 'trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

export type Severity = (typeof SEVERITIES)[number];

/** The levels one can ask for: each includes those above it. */
export const LEVELS: readonly Severity[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

/** The severity of a name such as `warn` or OTLP's `warn2`; `unset` when unknown. */
export function severityOf(name: string): Severity {
  const plain = name.toLowerCase().replace(/[2-4]$/, '');
  return SEVERITIES.find((one) => one === plain) ?? 'unset';
}
