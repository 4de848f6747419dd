// The first result that a client sees of a batch after some record.

/** Follows the batch's results from there on, and goes away with the first of them. */
export async function firstResultAfter(url: string, batchId: string, seq: number): Promise<void> {
  const answer = await fetch(`${url}/batches/${batchId}/results?after=${seq}`);
  const results = answer.body?.getReader();
  const first = await results?.read();
  await results?.cancel();
  if (first?.value === undefined) throw new Error(`the results of ${batchId} end at ${seq}`);
}
