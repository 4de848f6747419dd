// Which of a server's models can chat. The list of models says nothing about their kind, their names do.

/** Families that only embed or rank, as their names are written on the usual hubs and in server catalogues. */
const EMBEDDING_NAME =
  /embed|rerank|minilm|sentence-|paraphrase|colbert|splade|(?:^|[/:_-])(?:bge|e5|gte|gtr|mpnet|instructor)[-_:]/i;

/** True when the name says that the model makes vectors or scores rather than text. */
function isEmbeddingModel(modelId: string): boolean {
  return EMBEDDING_NAME.test(modelId);
}

/** The models that a question can be sent to, in the server's order. */
export function chatModels(modelIds: readonly string[]): string[] {
  return modelIds.filter((modelId) => !isEmbeddingModel(modelId));
}
