// I18: when nothing runs, the metrics of a process say what its file says.

import { strict as assert } from 'node:assert';
import { until } from '../fakes/until.ts';
import type { ChaosService } from './chaos-service.ts';
import { whole } from './oracle.ts';

/**
 * `records`: how many were appended in this life; `unread`: at most so many more, of batches that were deleted before
 * anybody had read them to the end. To be asked when everything has finished.
 */
export async function checkMetrics(service: ChaosService, records: number, unread = 0): Promise<void> {
  let metrics = await scrape(service);
  await until('no stream to be left', async () => {
    metrics = await scrape(service);
    return sum(metrics, 'ragmill_result_streams') === 0;
  });
  const counted = sum(metrics, 'ragmill_lines_total');
  const isRight = counted >= records && counted <= records + unread;
  assert.ok(isRight, `lines_total is ${counted}, with ${records} new records and at most ${unread} unread`);
  assert.equal(sum(metrics, 'ragmill_queue_lines'), 0);
}

async function scrape(service: ChaosService): Promise<[string, number][]> {
  const { text } = whole(await service.ask('GET', '/metrics'));
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const space = line.lastIndexOf(' ');
    return [line.slice(0, space), Number(line.slice(space + 1))];
  });
}

/** Over all label sets. */
function sum(metrics: readonly (readonly [string, number])[], name: string): number {
  return metrics
    .filter(([series]) => series.split('{')[0] === name)
    .reduce((total, [, value]) => total + value, 0);
}
