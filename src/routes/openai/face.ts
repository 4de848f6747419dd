// The OpenAI face under /v1: Files, Batches and Models, such that OpenAI's own clients work with another base URL.

import type { FastifyInstance } from 'fastify';
import type { Services } from '../services.ts';
import { registerOpenaiBatches } from './batches.ts';
import { registerEnvelopes } from './envelope.ts';
import { registerFileContent } from './file-content.ts';
import { registerFileUpload } from './file-upload.ts';
import { registerFiles } from './files.ts';
import { registerModels } from './models.ts';

export const OPENAI_PREFIX = '/v1';

export function registerOpenai(app: FastifyInstance, services: Services): void {
  app.register(
    (scope, _options, done) => {
      registerEnvelopes(scope);
      registerFileUpload(scope, services);
      registerFiles(scope, services);
      registerFileContent(scope, services);
      registerOpenaiBatches(scope, services);
      registerModels(scope, services);
      done();
    },
    { prefix: OPENAI_PREFIX },
  );
}
