// What a bench prints: the machine that its figures were measured on, and the figures.

import { availableParallelism, cpus, totalmem } from 'node:os';

export function machine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  const memoryGb = (totalmem() / 1e9).toFixed(0);
  return `${model}, ${availableParallelism()} cores, ${memoryGb} GB, ${process.platform}, Node ${process.version}`;
}

export function report(title: string, rows: readonly (readonly [string, string])[]): void {
  console.log(`\n${title}`);
  for (const [name, value] of rows) console.log(`  ${name.padEnd(40)} ${value}`);
}
