// What a bench has measured, as numbers with their units, and what is asked of them.

import { report } from './report.ts';

/** Where a figure is to be. */
export type Target = { readonly atMost: number };

export interface Figure {
  readonly name: string;
  readonly value: number;
  /** '' for a ratio or a plain count. */
  readonly unit: string;
  /** null: nothing is asked of it. */
  readonly target: Target | null;
}

export function figure(name: string, value: number, unit = '', target: Target | null = null): Figure {
  return { name, value, unit, target };
}

export function reportFigures(title: string, figures: readonly Figure[]): void {
  report(
    title,
    figures.map(({ name, value, unit, target }) => {
      const asked = target === null ? '' : `(asked: at most ${target.atMost})`;
      return [name, [digits(value), unit, asked].filter(Boolean).join(' ')];
    }),
  );
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
}

function digits(value: number): string {
  return Number.isInteger(value) || Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
