// The machine that figures were measured on, in one line.

import { availableParallelism, cpus, totalmem } from 'node:os';

export function machine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  const memoryGb = (totalmem() / 1e9).toFixed(0);
  return `${model}, ${availableParallelism()} cores, ${memoryGb} GB, ${process.platform}, Node ${process.version}`;
}
