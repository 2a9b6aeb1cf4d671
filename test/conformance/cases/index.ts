import type { Case } from '../suite.ts';
import { clusterCases } from './cluster.ts';
import { compactCases } from './compact.ts';
import { errorCases } from './errors.ts';
import { kvCases } from './kv.ts';
import { leaseCases } from './lease.ts';
import { rangeCases } from './range.ts';
import { txnCases } from './txn.ts';
import { watchCases } from './watch.ts';

/** Every case of the suite, in the order in which a target runs them. */
export const ALL_CASES: readonly Case[] = [
  ...kvCases,
  ...rangeCases,
  ...txnCases,
  ...compactCases,
  ...watchCases,
  ...leaseCases,
  ...clusterCases,
  ...errorCases,
];
