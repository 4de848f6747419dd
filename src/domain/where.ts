// A filter on the metadata of passages, in the language of Chroma, checked here so that a mistake is told at the upload
// and not by a hundred thousand failed lines.

/** A field to a value, or to operators; or `$and` / `$or` over filters. */
export type Where = Record<string, unknown>;

type Scalar = string | number | boolean;

const COMPARISONS = new Set(['$gt', '$gte', '$lt', '$lte']);
const EQUALITIES = new Set(['$eq', '$ne']);
const MEMBERSHIPS = new Set(['$in', '$nin']);
const JUNCTIONS = new Set(['$and', '$or']);
/** A filter is written by a person; deeper ones are an accident or an attack. */
const DEPTH_MAX = 16;

/** What is wrong with a filter, in words that follow "where"; null: nothing. */
export function whereProblem(where: unknown, depth = 0): string | null {
  if (depth > DEPTH_MAX) return `is nested more than ${DEPTH_MAX} levels deep`;
  if (!isRecord(where)) return 'must be an object such as {"lang":"en"}';
  const entries = Object.entries(where);
  const [first] = entries;
  if (first === undefined) return 'must name a field';
  if (entries.length > 1) return 'must name one field; write {"$and":[{…},{…}]} for several';
  const [key, value] = first;
  if (JUNCTIONS.has(key)) return junctionProblem(key, value, depth);
  if (key.startsWith('$')) return `has an operator "${key}" where a field belongs`;
  return isRecord(value) ? operatorProblem(key, value) : valueProblem(key, value);
}

function junctionProblem(key: string, parts: unknown, depth: number): string | null {
  if (!Array.isArray(parts) || parts.length < 2) return `must give "${key}" a list of two filters or more`;
  for (const part of parts) {
    const problem = whereProblem(part, depth + 1);
    if (problem !== null) return problem;
  }
  return null;
}

function operatorProblem(field: string, operators: Record<string, unknown>): string | null {
  const entries = Object.entries(operators);
  const [first] = entries;
  if (first === undefined || entries.length > 1) return `must give "${field}" one operator`;
  const [operator, value] = first;
  if (COMPARISONS.has(operator)) {
    return isNumber(value) ? null : `must compare "${field}" with a number by ${operator}`;
  }
  if (EQUALITIES.has(operator)) return valueProblem(field, value);
  if (!MEMBERSHIPS.has(operator)) return `has an unknown operator "${operator}"`;
  const isList = Array.isArray(value) && value.length > 0 && value.every(isScalar);
  const isOfOneKind = isList && new Set(value.map((item) => typeof item)).size === 1;
  return isOfOneKind ? null : `must give ${operator} of "${field}" a list of values of one kind`;
}

function valueProblem(field: string, value: unknown): string | null {
  return isScalar(value) ? null : `must compare "${field}" with a text, a number, true or false`;
}

function isScalar(value: unknown): value is Scalar {
  return typeof value === 'string' || typeof value === 'boolean' || isNumber(value);
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
