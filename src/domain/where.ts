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

/** Conditions of a whole filter. Chroma's database takes an expression of 900 and none of 990 (tried with Chroma 1.0). */
const CONDITIONS_MAX = 900;
/** Values of all its lists. Chroma's database takes 30,000 in a statement and not 40,000. */
const VALUES_MAX = 10_000;
/** Integers from here on are not Chroma's integers any more, and are not taken for fractions either. */
const INTEGER_END = 2 ** 63;

/** What is wrong with a filter, in words that follow "where"; null: nothing. */
export function whereProblem(where: unknown): string | null {
  return partProblem(where, 0) ?? sizeProblem(where);
}

function partProblem(where: unknown, depth: number): string | null {
  if (depth > DEPTH_MAX) return `is nested more than ${DEPTH_MAX} levels deep`;
  if (!isRecord(where)) return 'must be an object such as {"lang":"en"}';
  const entries = Object.entries(where);
  const [first] = entries;
  if (first === undefined) return 'must name a field';
  if (entries.length > 1) return 'must name one field; write {"$and":[{…},{…}]} for several';
  const [key, value] = first;
  if (JUNCTIONS.has(key)) return junctionProblem(key, value, depth);
  if (key.startsWith('$')) return `has an operator "${key}" where a field belongs`;
  if (!key.isWellFormed()) return 'names a field that is no text: half of a surrogate pair stands alone';
  return isRecord(value) ? operatorProblem(key, value) : valueProblem(key, value);
}

/** Of a filter whose parts are right. */
function sizeProblem(where: unknown): string | null {
  const { conditions, values } = sizeOf(where);
  if (conditions > CONDITIONS_MAX)
    return `has more than ${CONDITIONS_MAX} conditions; $in takes many values in one`;
  return values > VALUES_MAX ? `has more than ${VALUES_MAX} values in its lists` : null;
}

function sizeOf(where: unknown): { conditions: number; values: number } {
  let conditions = 0;
  let values = 0;
  for (const [key, value] of isRecord(where) ? Object.entries(where) : []) {
    if (JUNCTIONS.has(key) && Array.isArray(value)) {
      for (const part of value.map(sizeOf)) {
        conditions += part.conditions;
        values += part.values;
      }
    } else {
      conditions += 1;
      const [list] = isRecord(value) ? Object.values(value) : [];
      if (Array.isArray(list)) values += list.length;
    }
  }
  return { conditions, values };
}

function junctionProblem(key: string, parts: unknown, depth: number): string | null {
  if (!Array.isArray(parts) || parts.length < 2) return `must give "${key}" a list of two filters or more`;
  for (const part of parts) {
    const problem = partProblem(part, depth + 1);
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
    return isNumber(value)
      ? scalarProblem(field, value)
      : `must compare "${field}" with a number by ${operator}`;
  }
  if (EQUALITIES.has(operator)) return valueProblem(field, value);
  if (!MEMBERSHIPS.has(operator)) return `has an unknown operator "${operator}"`;
  return listProblem(field, operator, value);
}

function listProblem(field: string, operator: string, list: unknown): string | null {
  const isList = Array.isArray(list) && list.length > 0 && list.every(isScalar);
  if (!isList || new Set(list.map((item) => typeof item)).size > 1)
    return `must give ${operator} of "${field}" a list of values of one kind`;
  const isMixed = list.some(Number.isInteger) && !list.every(Number.isInteger);
  if (isMixed && list.every(isNumber)) {
    return `must give ${operator} of "${field}" integers only, or fractions only; "$or" joins two lists`;
  }
  for (const item of list) {
    const problem = scalarProblem(field, item);
    if (problem !== null) return problem;
  }
  return null;
}

function valueProblem(field: string, value: unknown): string | null {
  return isScalar(value)
    ? scalarProblem(field, value)
    : `must compare "${field}" with a text, a number, true or false`;
}

function scalarProblem(field: string, value: Scalar): string | null {
  if (typeof value === 'string' && !value.isWellFormed())
    return `compares "${field}" with what is no text: half of a surrogate pair stands alone`;
  const isHuge = Number.isInteger(value) && (Number(value) >= INTEGER_END || Number(value) < -INTEGER_END);
  return isHuge ? `compares "${field}" with an integer beyond 64 bits` : null;
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
