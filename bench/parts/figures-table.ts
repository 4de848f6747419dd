// The figures of several benches as one table in Markdown, so that rows of it can stand in the documentation as they are.

import { type Row, targetText, valueText, verdict } from './report.ts';

const HEAD = ['bench', 'table', 'figure', 'value', 'unit', 'target', 'result', 'load'] as const;

export interface BenchRows {
  readonly bench: string;
  readonly rows: readonly Row[];
}

export function figuresTable(benches: readonly BenchRows[]): string {
  const body = benches.flatMap(({ bench, rows }) => rows.map((row) => cellsOf(bench, row)));
  const widths = HEAD.map((head, column) =>
    Math.max(head.length, ...body.map((cells) => cells[column]?.length ?? 0)),
  );
  const rule = widths.map((width) => '-'.repeat(width));
  return [HEAD, rule, ...body].map((cells) => lineOf(cells, widths)).join('\n');
}

function cellsOf(bench: string, row: Row): string[] {
  const { table, name, value, unit, target, load } = row;
  return [bench, table, name, valueText(value), unit, targetText(target), verdict(row), load.toFixed(1)];
}

function lineOf(cells: readonly string[], widths: readonly number[]): string {
  return `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
}
