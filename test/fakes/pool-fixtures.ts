// Endpoints as tests need them: where they would be, and what their servers would say.

import { ALL_ROLES } from '../../src/domain/call-stage.ts';
import type { ServerReport } from '../../src/domain/server-kind.ts';
import type { EndpointCandidate } from '../../src/gpu-pool/candidates.ts';

export function candidate(name: string, changes: Partial<EndpointCandidate> = {}): EndpointCandidate {
  return {
    name,
    url: `http://${name}`,
    model: null,
    kind: null,
    isExpected: true,
    roles: ALL_ROLES,
    ...changes,
  };
}

export function report(models: readonly string[], changes: Partial<ServerReport> = {}): ServerReport {
  return {
    kind: 'report',
    server: 'generic',
    models: models.map((id) => ({ id, contextTokens: null })),
    otherModels: [],
    maxRunning: null,
    kvCapacityTokens: null,
    load: null,
    ...changes,
  };
}

export const NO_GPUS = { count: null, source: 'a test' };
