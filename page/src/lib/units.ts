/** The unit of a query's result, guessed from its metrics' names and carried through what the query does with them. */

import type { QueryNode } from '../api/prometheusTypes';

/** `unit` is '' where there is none to tell; `perSecond` says that it is a rate of it. */
export interface Unit {
  unit: '' | 'seconds' | 'milliseconds' | 'bytes' | 'ratio' | '%' | 'timestamp';
  perSecond: boolean;
}

export const NO_UNIT: Unit = { unit: '', perSecond: false };

const RATES = new Set(['rate', 'irate', 'deriv']);
/** Functions whose result is a count, a truth or a part of a date, whatever they are given. */
const UNITLESS = new Set([
  ...[
    'absent',
    'absent_over_time',
    'changes',
    'count_over_time',
    'day_of_month',
    'day_of_week',
    'day_of_year',
  ],
  ...['days_in_month', 'hour', 'minute', 'month', 'present_over_time', 'resets', 'scalar', 'sgn', 'year'],
  ...['exp', 'ln', 'log10', 'log2', 'stdvar_over_time', 'histogram_stdvar', 'histogram_fraction'],
]);
const COUNTS = new Set(['count', 'count_values', 'group', 'stdvar']);
const COMPARISONS = new Set(['==', '!=', '<', '>', '<=', '>=']);
/** Of a histogram: what it counts, rather than how many. */
const MEASURES = new Set(['histogram_quantile', 'histogram_avg', 'histogram_stddev']);

/** The unit a metric's name ends in, before what says which part of it this is. */
export function unitOfName(name: string): Unit {
  if (/_(bucket|count)$/.test(name)) return NO_UNIT;
  const stem = name.replace(/_(total|sum|created)$/, '');
  if (name.endsWith('_created') || /(^|_)(time|timestamp)_seconds$/.test(stem)) {
    return { unit: 'timestamp', perSecond: false };
  }
  const word = /(?:^|_)(seconds|milliseconds|bytes|ratio|percent)$/.exec(stem)?.[1];
  return { unit: word === 'percent' ? '%' : ((word ?? '') as Unit['unit']), perSecond: false };
}

/** The unit of a query's result. */
export function unitOf(node: QueryNode): Unit {
  switch (node.type) {
    case 'vectorSelector':
    case 'matrixSelector':
      return unitOfName(node.name);
    case 'parenExpr':
    case 'unaryExpr':
    case 'subquery':
      return unitOf(node.expr);
    case 'aggregation':
      return COUNTS.has(node.op) ? NO_UNIT : unitOf(node.expr);
    case 'call':
      return unitOfCall(node.func.name, node.args);
    case 'binaryExpr':
      return unitOfOperation(node);
    default:
      return NO_UNIT;
  }
}

function unitOfCall(name: string, args: readonly QueryNode[]): Unit {
  if (name === 'time' || name === 'timestamp') return { unit: 'timestamp', perSecond: false };
  if (UNITLESS.has(name)) return NO_UNIT;
  const vector = args.find((arg) => arg.type !== 'numberLiteral' && arg.type !== 'stringLiteral');
  if (!vector) return NO_UNIT;
  if (MEASURES.has(name)) return measured(vector);
  if (name === 'histogram_count') return { unit: '', perSecond: unitOf(vector).perSecond };
  if (name === 'histogram_sum') return { unit: measured(vector).unit, perSecond: unitOf(vector).perSecond };
  return RATES.has(name) ? { unit: unitOf(vector).unit, perSecond: true } : unitOf(vector);
}

/** The unit of what the histogram within a query counts. */
export function measured(node: QueryNode): Unit {
  const [name] = metricNames(node);
  return unitOfName((name ?? '').replace(/_bucket$/, ''));
}

/** The names of the metrics a query selects. */
export function metricNames(node: QueryNode): string[] {
  if ('name' in node) return [node.name];
  if ('expr' in node) return metricNames(node.expr);
  if ('args' in node) return node.args.flatMap(metricNames);
  if ('lhs' in node) return [...metricNames(node.lhs), ...metricNames(node.rhs)];
  return [];
}

function unitOfOperation({ op, lhs, rhs, bool }: QueryNode & { type: 'binaryExpr' }): Unit {
  const [left, right] = [unitOf(lhs), unitOf(rhs)];
  const same = left.unit === right.unit && left.perSecond === right.perSecond;
  if (COMPARISONS.has(op)) return bool ? NO_UNIT : left;
  if (op === 'and' || op === 'or' || op === 'unless') return left;
  if (op === '+' || op === '-') {
    if (op === '-' && same && left.unit === 'timestamp') return { unit: 'seconds', perSecond: false };
    return isNumber(lhs) ? right : same || isNumber(rhs) ? left : NO_UNIT;
  }
  if (op === '*') {
    if (isNumber(lhs)) return scaled(right, lhs);
    return isNumber(rhs) ? scaled(left, rhs) : NO_UNIT;
  }
  if (op === '/') {
    if (isNumber(rhs)) return left;
    const counted = left.unit !== '' || left.perSecond;
    if (same && counted && !isOpenSum(lhs)) return { unit: 'ratio', perSecond: false };
    return right.unit === '' ? { unit: left.unit, perSecond: left.perSecond && !right.perSecond } : NO_UNIT;
  }
  return NO_UNIT;
}

function isNumber(node: QueryNode): boolean {
  if (node.type === 'parenExpr' || node.type === 'unaryExpr') return isNumber(node.expr);
  return node.type === 'numberLiteral';
}

/** A hundred times a ratio is in per cent; any other factor makes another unit of it, that has no name. */
function scaled(unit: Unit, factor: QueryNode): Unit {
  if (factor.type !== 'numberLiteral' || Number(factor.val) !== 100) return NO_UNIT;
  return unit.unit === 'ratio' ? { unit: '%', perSecond: false } : NO_UNIT;
}

/** Whether a query is the sum of something without a unit: divided by how many, it is an average and no ratio. */
function isOpenSum(node: QueryNode): boolean {
  return metricNames(node).some((name) => name.endsWith('_sum') && unitOfName(name).unit === '');
}
