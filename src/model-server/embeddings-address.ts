// Where a server answers for embeddings, from what people write as its address: with and without /v1, of a server that
// has another version or none, or the whole route.

/**
 * - `http://host:8000` and `http://host:8000/v1` mean `http://host:8000/v1/embeddings`.
 * - A path that ends in `/embeddings` is the route itself; a query, such as Azure's `api-version`, stays.
 */
export function embeddingsAddress(url: string): string {
  const address = new URL(url);
  const path = address.pathname.replace(/\/+$/, '');
  if (path.endsWith('/embeddings')) address.pathname = path;
  else address.pathname = `${path.endsWith('/v1') ? path : `${path}/v1`}/embeddings`;
  return address.href;
}
