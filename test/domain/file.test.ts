import t from 'tap';
import { resultFileId, resultFileOf } from '../../src/domain/file.ts';

t.test("the id of a result file leads to its batch, and no other file's id does", async (t) => {
  for (const kind of ['output', 'error'] as const) {
    const id = resultFileId('batch_00ff12', kind);
    t.same(resultFileOf(id), { batchId: 'batch_00ff12', kind });
  }
  t.not(resultFileId('batch_00ff12', 'output'), resultFileId('batch_00ff12', 'error'));
  for (const id of ['file-00ff12', 'file-input-00ff12', 'batch_00ff12', 'file-output-', 'file-output-xyz']) {
    t.equal(resultFileOf(id), null, id);
  }
});
