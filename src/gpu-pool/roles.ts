// Which endpoints do what, where the settings tell those that answer from those that write digests. An endpoint that
// is named for both is one endpoint, with one gate.

import { ALL_ROLES, type CallStage } from '../domain/call-stage.ts';
import { RagmillError } from '../errors.ts';
import { type EndpointCandidate, type EndpointList, refuseNamesakes } from './candidates.ts';

export const GENERATION_LIST: EndpointList = { setting: 'GENERATION_ENDPOINTS', prefix: 'generation' };

const RAG: ReadonlySet<CallStage> = new Set(['rag']);
const GENERATION: ReadonlySet<CallStage> = new Set(['generation']);

/**
 * The endpoints of the RAG model and those that answer, each once. Throws `config_invalid` where the two lists say
 * different things of one server.
 */
export function withRoles(
  rag: readonly EndpointCandidate[],
  generation: readonly EndpointCandidate[],
): EndpointCandidate[] {
  const shared = new Set<string>();
  const candidates = rag.map((candidate) => {
    const twin = generation.find(({ url }) => url === candidate.url);
    if (!twin) return { ...candidate, roles: RAG };
    shared.add(twin.url);
    return united(candidate, twin);
  });
  for (const candidate of generation) {
    if (!shared.has(candidate.url)) candidates.push({ ...candidate, roles: GENERATION });
  }
  refuseNamesakes(candidates, `${GENERATION_LIST.setting}, together with the GPU endpoints,`);
  return candidates;
}

/** One server, named in both lists. The name in GENERATION_ENDPOINTS stands, if one was given there. */
function united(candidate: EndpointCandidate, twin: EndpointCandidate): EndpointCandidate {
  if (candidate.model !== null && twin.model !== null && candidate.model !== twin.model) {
    throw new RagmillError(
      'config_invalid',
      `GPU_ENDPOINTS and GENERATION_ENDPOINTS give ${candidate.url} two models. Give it one, and name the other in RAG_MODEL or MODEL.`,
    );
  }
  return {
    ...candidate,
    name: twin.name.startsWith(`${GENERATION_LIST.prefix}-`) ? candidate.name : twin.name,
    model: twin.model ?? candidate.model,
    kind: twin.kind ?? candidate.kind,
    isExpected: true,
    roles: ALL_ROLES,
  };
}
