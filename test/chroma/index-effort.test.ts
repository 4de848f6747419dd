// The index searches harder in a larger collection, and as configured in an ordinary one.

import t from 'tap';
import { indexFor } from '../../src/chroma/index-effort.ts';

t.test('search effort grows with the collection', async (t) => {
  const index = { space: 'ip', ef_search: 200, max_neighbors: 64 } as const;
  t.same(indexFor(index, 5), index);
  t.same(indexFor(index, 10_000), index);
  t.same(indexFor(index, 100_000), { ...index, ef_search: 399 });
  t.same(indexFor({}, 100_000), { ef_search: 200 }, "from Chroma's own default where nothing is configured");
});
