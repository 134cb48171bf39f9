import { expect, it } from 'vitest';
import type { QueryNode } from '../api/prometheusTypes';
import { unitOf } from './units';

const metric = (name: string): QueryNode => ({ type: 'vectorSelector', name });
const number = (val: string): QueryNode => ({ type: 'numberLiteral', val });
const call = (name: string, ...args: QueryNode[]): QueryNode => ({ type: 'call', func: { name }, args });
const sum = (expr: QueryNode): QueryNode => ({ type: 'aggregation', op: 'sum', expr });
const rate = (name: string): QueryNode => call('rate', { type: 'matrixSelector', name });
const operate = (lhs: QueryNode, op: string, rhs: QueryNode): QueryNode => ({
  type: 'binaryExpr',
  op,
  lhs,
  rhs,
  bool: false,
});

it.each([
  ['a gauge of bytes', metric('process_resident_memory_bytes'), 'bytes', false],
  ['a rate of bytes', sum(rate('sent_bytes_total')), 'bytes', true],
  ['a rate of requests', rate('requests_total'), '', true],
  [
    'a quantile of a classic histogram',
    call('histogram_quantile', number('0.9'), sum(rate('t_seconds_bucket'))),
    'seconds',
    false,
  ],
  [
    'a quantile of a native histogram',
    call('histogram_quantile', number('0.9'), rate('t_seconds')),
    'seconds',
    false,
  ],
  [
    'an average of a histogram',
    operate(rate('t_seconds_sum'), '/', rate('t_seconds_count')),
    'seconds',
    false,
  ],
  ['an average without a unit', operate(rate('size_sum'), '/', rate('size_count')), '', false],
  [
    'errors of requests',
    operate(sum(rate('errors_total')), '/', sum(rate('requests_total'))),
    'ratio',
    false,
  ],
  ['memory of memory', operate(metric('used_bytes'), '/', metric('size_bytes')), 'ratio', false],
  [
    'a hundredfold ratio',
    operate(operate(metric('a_bytes'), '/', metric('b_bytes')), '*', number('100')),
    '%',
    false,
  ],
  ['an age', operate(call('time'), '-', metric('process_start_time_seconds')), 'seconds', false],
  ['a comparison', operate(metric('used_bytes'), '>', number('5')), 'bytes', false],
  [
    'a count',
    { type: 'aggregation', op: 'count', expr: metric('used_bytes') } satisfies QueryNode,
    '',
    false,
  ],
  ['a product', operate(metric('used_bytes'), '*', metric('b')), '', false],
])('%s', (_, query, unit, perSecond) => {
  expect(unitOf(query)).toEqual({ unit, perSecond });
});
