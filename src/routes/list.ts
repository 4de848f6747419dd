// A page of a list, as OpenAI's API has it and ragmill's own too.

import { type TSchema, Type } from 'typebox';

const idOrNull = Type.Union([Type.String(), Type.Null()]);

export function listSchema<Item extends TSchema>(item: Item) {
  return Type.Object({
    object: Type.Literal('list'),
    data: Type.Array(item),
    first_id: idOrNull,
    last_id: idOrNull,
    has_more: Type.Boolean(),
  });
}

export function listOf<Item extends { readonly id: string }>(data: Item[], hasMore: boolean) {
  return {
    object: 'list' as const,
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: hasMore,
  };
}
