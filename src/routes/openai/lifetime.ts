// How long files may be kept, as OpenAI has it.

export const LIFE_SECONDS_MIN = 3600;
export const LIFE_SECONDS_MAX = 2_592_000;
