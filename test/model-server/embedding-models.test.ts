import t from 'tap';
import { chatModels } from '../../src/model-server/embedding-models.ts';

t.test('leaves out the models that only embed or rank', async (t) => {
  const chat = [
    'Qwen/Qwen2.5-7B-Instruct',
    'llama3.2:3b',
    'meta-llama/Llama-3.1-8B-Instruct',
    'mistral:latest',
    'deepseek-r1:8b',
    'gpt-oss-20b',
    'google/gemma-3-27b-it',
    '/models/phi-4',
  ];
  const others = [
    'nomic-embed-text:latest',
    'text-embedding-3-small',
    'mxbai-embed-large',
    'BAAI/bge-m3',
    'intfloat/e5-mistral-7b-instruct',
    'Alibaba-NLP/gte-Qwen2-7B-instruct',
    'sentence-transformers/all-MiniLM-L6-v2',
    'jinaai/jina-embeddings-v3',
    'Qwen/Qwen3-Reranker-4B',
    'snowflake-arctic-embed:33m',
  ];
  t.same(chatModels([...others, ...chat]), chat);
});
