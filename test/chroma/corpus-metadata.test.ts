// Metadata of a corpus on their way through a real bootstrap into a real Chroma, where filters find them.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import t from 'tap';
import { Bootstrap } from '../../src/chroma/bootstrap.ts';
import { openCorpus } from '../../src/chroma/corpus-source.ts';
import { lexicalEmbedding } from '../../src/chroma/lexical-embedding.ts';
import { systemClock } from '../../src/time.ts';
import { MemoryRankZero } from '../fakes/memory-rank-zero.ts';
import { pdf, pdfLines } from '../fakes/pdf-writer.ts';
import { realChroma, succeeds } from '../fakes/real-chroma.ts';

const connection = await realChroma(t);
const log = pino({ level: 'silent' });

t.test('scalars of every kind, and the pages of a PDF, can be filtered by', async (t) => {
  const folder = join(t.testdir({ corpus: {} }), 'corpus');
  const document = { id: 'leave', title: 'Leave', text: 'Thirty days a year.', source: 'handbook' };
  const metadata = { year: 2026, share: 0.5, open: true, tag: 'hr', 'a.b': 'x', gone: null };
  writeFileSync(join(folder, 'a.jsonl'), `${JSON.stringify({ ...document, metadata })}\n`);
  const pages = [pdfLines('The lighthouse keeper.'.repeat(4)), pdfLines('The violin maker.'.repeat(4))];
  writeFileSync(join(folder, 'b.pdf'), pdf({ pages }));
  const ready = await new Bootstrap({
    rankZero: new MemoryRankZero(),
    connection,
    corpus: openCorpus({ path: folder, chunkCharacters: 120, log }),
    embedding: lexicalEmbedding,
    collectionName: 'filtered',
    resetCollection: 'always',
    timeoutMs: 30_000,
    clock: systemClock,
    log,
  }).run(new AbortController().signal);
  const idsWhere = async (where: Record<string, string | number | boolean>) => {
    const found = connection.call((client) => client.collection(ready.record.uuid).get({ where }), {
      timeoutMs: 30_000,
    });
    return (await succeeds(found)).ids;
  };
  for (const [key, value] of Object.entries(metadata)) {
    if (value !== null) t.same(await idsWhere({ [key]: value }), ['leave#0'], key);
  }
  t.same(await idsWhere({ ragmill_document_id: 'leave' }), ['leave#0']);
  t.same(await idsWhere({ year: 2025 }), []);
  t.same(await idsWhere({ page: 2 }), ['b.pdf#1']);
  t.same(await idsWhere({ ragmill_source: 'b.pdf#page=1' }), ['b.pdf#0']);
});
