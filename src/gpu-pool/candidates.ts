// Where model servers may be: the list the settings give, or the sequential ports of one host.

import { ALL_ROLES, type CallStage } from '../domain/call-stage.ts';
import { SERVER_KINDS, type ServerKind } from '../domain/server-kind.ts';
import { RagmillError } from '../errors.ts';

export interface EndpointCandidate {
  /** Short and stable: names the endpoint in results, metrics and logs. */
  readonly name: string;
  /** Base URL without a trailing slash and without /v1. */
  readonly url: string;
  /** The model to ask for; null: the server's only or first chat model. */
  readonly model: string | null;
  /** What kind of server it is; null: to be found out. */
  readonly kind: ServerKind | null;
  /** true: the settings name it, so it should be there; false: a port that may well be empty. */
  readonly isExpected: boolean;
  /** What it may be called for. */
  readonly roles: ReadonlySet<CallStage>;
}

/** A setting that lists endpoints. */
export interface EndpointList {
  /** For error messages. */
  readonly setting: string;
  /** Endpoints without a name are called this and their place in the list. */
  readonly prefix: string;
}

export const GPU_LIST: EndpointList = { setting: 'GPU_ENDPOINTS', prefix: 'gpu' };

/** Fewest sequential ports that are looked at, holes included. */
const SEQUENTIAL_PORTS_MIN = 8;
const PORT_MAX = 65_535;

export function serverUrl(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** As many ports as there are GPUs, and at least a few. */
export function sequentialCandidates(host: string, basePort: number, gpus: number): EndpointCandidate[] {
  const length = Math.min(Math.max(SEQUENTIAL_PORTS_MIN, gpus), PORT_MAX - basePort + 1);
  return Array.from({ length }, (_, index) => ({
    name: `gpu-${index}`,
    url: serverUrl(host, basePort + index),
    model: null,
    kind: null,
    isExpected: false,
    roles: ALL_ROLES,
  }));
}

/**
 * Reads `GPU_ENDPOINTS` and its like: comma-separated entries, each `[name=]url[;kind=…][;model=…]`. Throws
 * `config_invalid` naming the entry.
 */
export function parseEndpoints(list: string, from: EndpointList = GPU_LIST): EndpointCandidate[] {
  const candidates = list
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map((entry, index) => parseEntry(entry, index, from));
  if (candidates.length === 0) throw new RagmillError('config_invalid', `${from.setting} names no endpoint.`);
  refuseNamesakes(candidates, from.setting);
  const urls = new Set(candidates.map((candidate) => candidate.url));
  if (urls.size < candidates.length) {
    throw new RagmillError(
      'config_invalid',
      `${from.setting} names one server twice: it would get twice its window.`,
    );
  }
  return candidates;
}

/** Throws `config_invalid` when two have the same name. */
export function refuseNamesakes(candidates: readonly EndpointCandidate[], setting: string): void {
  const names = new Set(candidates.map((candidate) => candidate.name));
  if (names.size === candidates.length) return;
  throw new RagmillError('config_invalid', `${setting} names two endpoints alike. Give each its own name.`);
}

function parseEntry(entry: string, index: number, from: EndpointList): EndpointCandidate {
  const [address = '', ...settings] = entry.split(';').map((part) => part.trim());
  const named = /^([A-Za-z0-9._-]+)=(.*)$/.exec(address);
  const url = named?.[2] ?? address;
  const invalid = (why: string) =>
    new RagmillError('config_invalid', `${from.setting}: in "${entry}", ${why}.`);
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw invalid(`"${url}" is not a URL; write http://host:port`);
  }
  if (!/^https?:$/.test(parsed.protocol)) throw invalid('only http:// and https:// are supported');
  if (parsed.username || parsed.password) throw invalid('put the key into GPU_API_KEY, not into the URL');
  return {
    name: named?.[1] ?? `${from.prefix}-${index}`,
    url: `${parsed.origin}${basePath(parsed)}`,
    ...parseSettings(settings, invalid),
    isExpected: true,
    roles: ALL_ROLES,
  };
}

function parseSettings(
  settings: readonly string[],
  invalid: (why: string) => RagmillError,
): Pick<EndpointCandidate, 'model' | 'kind'> {
  let model: string | null = null;
  let kind: ServerKind | null = null;
  for (const setting of settings) {
    const [key, value = ''] = setting.split(/=(.*)/);
    if (key === 'model' && value !== '') model = value;
    else if (key === 'kind' && isServerKind(value)) kind = value;
    else {
      const known = `model=<name>, kind=<${SERVER_KINDS.join('|')}>`;
      throw invalid(`"${setting}" is not a setting; known: ${known}`);
    }
  }
  return { model, kind };
}

function isServerKind(value: string): value is ServerKind {
  return (SERVER_KINDS as readonly string[]).includes(value);
}

/** Many tools ask for the URL with /v1, so that is what people paste. */
function basePath(url: URL): string {
  return url.pathname.replace(/\/+$/, '').replace(/\/+v1$/, '');
}
