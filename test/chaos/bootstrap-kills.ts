// Rank 0 is killed at each step of its way to READY, one start after the other in the same folder: nobody is ever ready
// half-built, what was left is cleared away by the start that gets through, and what is somebody else's stays as it is.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import { ServiceProcess } from '../../src/cli/service-process.ts';
import { corpusFile } from '../fakes/running-service.ts';
import { QUIET } from '../fakes/spawned-service.ts';
import type { Figures } from './figures.ts';
import { contentsOf, countsIn, createForeign } from './foreign-collections.ts';

const preload = new URL('../fakes/kill-at-chroma-call.ts', import.meta.url).href;
const name = 'killed';
/** Chunks of the corpus. */
const whole = 5;

/**
 * Building, retiring the old one, swapping, deleting. Each start finds what the kills before it have left: behind the first
 * `after PUT 1` nothing stands under the name, and the first renaming is the one that gives it.
 */
const steps = [
  'after POST /collections 1',
  'before POST /upsert 1',
  'after POST /upsert 1',
  'before PUT /collections/ 1',
  'after PUT /collections/ 2',
  'before DELETE /collections/ 1',
  'before DELETE /collections/ 2',
  'after DELETE /collections/ 2',
  'after PUT /collections/ 1',
  'before PUT /collections/ 1',
  'after PUT /collections/ 1',
];

interface Round {
  readonly folder: string;
  readonly corpusPath: string;
  readonly resetCollection: 'always' | 'if-changed';
}

/** Kills at every step with every way of resetting, `cycles` times over. */
export async function killAtEachStep(
  t: Test,
  options: { readonly chroma: ChromaConnection; readonly cycles: number; readonly figures: Figures },
): Promise<void> {
  const { chroma, cycles, figures } = options;
  const foreign = {
    theirs: await createForeign(chroma, 'theirs', { ragmill_owner: 'another store' }),
    [`${name}.77`]: await createForeign(chroma, `${name}.77`),
    [`${name}.78.retired`]: await createForeign(chroma, `${name}.78.retired`, {
      ragmill_owner: 'another store',
    }),
  };
  const untouched = Object.fromEntries(Object.keys(foreign).map((collection) => [collection, 2]));
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-kills-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const corpusPath = corpusFile(t);
  const corpus = readFileSync(corpusPath, 'utf8');
  let builds = 0;
  // The first start makes the collection that the others replace.
  const first = start(t, chroma, { folder, corpusPath, resetCollection: 'always' });
  await first.ready(QUIET);
  await first.end('SIGTERM');
  for (let cycle = 0; cycle < cycles; cycle += 1) {
    for (const resetCollection of ['always', 'if-changed'] as const) {
      const round = { folder, corpusPath, resetCollection };
      // What has not changed would only be joined.
      builds += 1;
      writeFileSync(corpusPath, corpus.replaceAll('lens', `lens number${builds}`));
      for (const step of steps.filter((it) => isPassed(it, resetCollection))) {
        await killAt(t, chroma, round, step);
        figures.kills += 1;
      }
      const survivor = start(t, chroma, round);
      const startedAtMs = performance.now();
      await survivor.ready(QUIET);
      figures.readyMs.push(performance.now() - startedAtMs);
      t.same(await countsIn(chroma), { ...untouched, [name]: whole }, 'nothing is left over');
      const body = JSON.stringify({ query: 'Who polishes the lens?' });
      const found = await fetch(`${survivor.url}/search`, { method: 'POST', body });
      t.match(await found.json(), { status: 'success' });
      await survivor.end('SIGTERM');
    }
    for (const [collection, before] of Object.entries(foreign)) {
      t.equal(await contentsOf(chroma, collection), before, `${collection} is as it was`);
    }
  }
}

/** READY is recorded before the last deletion: where only changes count, it is then joined. */
function isPassed(step: string, resetCollection: Round['resetCollection']): boolean {
  return resetCollection === 'always' || !step.endsWith('DELETE /collections/ 2');
}

async function killAt(t: Test, chroma: ChromaConnection, round: Round, step: string): Promise<void> {
  const service = start(t, chroma, round, { KILL_AT: step });
  await t.rejects(service.ready(QUIET), `${round.resetCollection}, killed ${step}, and never ready`);
  const { [name]: count = whole } = await countsIn(chroma);
  t.equal(count, whole, 'under the name there is nothing, or all of it');
}

function start(
  t: Test,
  chroma: ChromaConnection,
  { folder, corpusPath, resetCollection }: Round,
  more: Readonly<Record<string, string>> = {},
): ServiceProcess {
  const settings = {
    CHROMA_URL: chroma.url,
    CHROMA_COLLECTION: name,
    CORPUS_PATH: corpusPath,
    RESET_COLLECTION: resetCollection,
    GENERATION_THREADS: '1',
    ...more,
  };
  const service = new ServiceProcess(settings, { folder, nodeArguments: ['--import', preload] });
  t.teardown(() => service.stop());
  return service;
}
