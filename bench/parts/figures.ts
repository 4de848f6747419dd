// What a bench has measured, as numbers with their units; a target says what was asked for.

import { report } from './report.ts';

export interface Figure {
  readonly name: string;
  readonly value: number;
  /** Empty for a ratio or a count. */
  readonly unit: string;
  readonly target?: string;
}

export function reportFigures(title: string, figures: readonly Figure[]): void {
  report(
    title,
    figures.map(({ name, value, unit, target }) => {
      const asked = target === undefined ? '' : ` (asked: ${target})`;
      return [name, `${digits(value)}${unit === '' ? '' : ` ${unit}`}${asked}`];
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
