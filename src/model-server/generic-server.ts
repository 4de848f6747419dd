// Any server that speaks the OpenAI API: it has a list of models, and nothing else is known of it.

import { type ServerAdapter, servedModel } from './server-adapter.ts';

export const genericServer: ServerAdapter = {
  recognise: async () => 'yes',
  details: async (listed) => ({
    models: listed.map(servedModel),
    maxRunning: null,
    kvCapacityTokens: null,
    load: null,
  }),
};
