// What a bench prints: the machine that its figures were measured on, and the figures; and the same as a file, in one form
// for all benches, so that a program can compare runs.

import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';

export function machine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  const memoryGb = (totalmem() / 1e9).toFixed(0);
  return `${model}, ${availableParallelism()} cores, ${memoryGb} GB, ${process.platform}, Node ${process.version}`;
}

export function report(title: string, rows: readonly (readonly [string, string])[]): void {
  console.log(`\n${title}`);
  const width = Math.max(40, ...rows.map(([name]) => name.length));
  for (const [name, value] of rows) console.log(`  ${name.padEnd(width)} ${value}`);
}

/** Where a figure is to be. */
export type Target = { readonly atLeast: number } | { readonly atMost: number };

export interface Figure {
  readonly name: string;
  /** null: it could not be measured. */
  readonly value: number | null;
  /** '' for a ratio or a plain count. */
  readonly unit: string;
  /** null: nothing is asked of it. */
  readonly target: Target | null;
}

/** A figure as it stands in the file. */
export interface Row extends Figure {
  /** The heading of the table that it belongs to. */
  readonly table: string;
  /** Of the machine over the last minute, when the table was made. */
  readonly load: number;
}

/** What the file holds. */
export interface FigureFile {
  readonly title: string;
  readonly machine: string;
  readonly rows: readonly Row[];
}

export function figure(name: string, value: number | null, unit = '', target: Target | null = null): Figure {
  return { name, value: value === null || Number.isNaN(value) ? null : value, unit, target };
}

/** Prints figures table by table, and keeps them for the file. */
export class FigureReport {
  readonly #title: string;
  readonly #rows: Row[] = [];

  constructor(title: string) {
    this.#title = title;
    console.log(`${title}\n${machine()}, load ${currentLoad().toFixed(1)}`);
  }

  table(heading: string, figures: readonly Figure[]): void {
    const load = currentLoad();
    report(
      `${heading} (load ${load.toFixed(1)})`,
      figures.map((one) => [one.name, shown(one)]),
    );
    this.#rows.push(...figures.map((one) => ({ table: heading, load, ...one })));
  }

  /** Writes the file, if one was asked for. */
  write(path: string | undefined): void {
    if (path === undefined) return;
    const file: FigureFile = { title: this.#title, machine: machine(), rows: this.#rows };
    writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`);
  }
}

/** '' where nothing is asked, or nothing is known. */
export function verdict({ value, target }: Figure): 'met' | 'missed' | '' {
  if (value === null || target === null) return '';
  const isMet = 'atLeast' in target ? value >= target.atLeast : value <= target.atMost;
  return isMet ? 'met' : 'missed';
}

/** '' where nothing is asked. */
export function targetText(target: Target | null): string {
  if (target === null) return '';
  const [words, limit] = 'atLeast' in target ? ['at least', target.atLeast] : ['at most', target.atMost];
  return `${words} ${Number(limit.toFixed(3))}`;
}

export function valueText(value: number | null): string {
  if (value === null) return 'not known';
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 3 : 1);
}

function shown(one: Figure): string {
  const missed = verdict(one) === 'missed' ? '; missed' : '';
  const asked = one.target === null ? '' : `(asked: ${targetText(one.target)}${missed})`;
  return [valueText(one.value), one.value === null ? '' : one.unit, asked].filter(Boolean).join(' ');
}

function currentLoad(): number {
  return loadavg()[0] ?? Number.NaN;
}
