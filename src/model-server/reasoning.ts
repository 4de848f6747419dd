// Takes a model's reasoning off its answer, where the server left it in the text. Only reasoning that leads the
// text is taken: later on, the tag is something the answer talks about.

const LEADING_BLOCK = /^\s*<think>[\s\S]*?(?:<\/think>|$)/;
const OPEN_TAG = '<think>';
const TAG_END = 'think>';
/**
 * The end of reasoning stands at the start or the end of a line, or without a space between its last sentence and the
 * answer, as DeepSeek's templates write it. Anywhere else a sentence mentions the tag.
 */
const CLOSE_TAG =
  /^[ \t]*<\/think>|<\/think>(?=[ \t]*$)|(?<=[\p{L}\p{N}.!?。！？])<\/think>(?=[\p{L}\p{N}*#])/mu;

/** The answer without leading `<think>` blocks; empty when the text never got beyond its reasoning. */
export function stripReasoning(text: string): string {
  // Nearly all answers.
  if (!text.includes(TAG_END)) return text;
  let rest = text;
  while (LEADING_BLOCK.test(rest)) rest = rest.replace(LEADING_BLOCK, '');
  return rest === text ? stripUnopenedReasoning(text) : rest.trimStart();
}

/** Some chat templates put the opening tag into the prompt, so that the model's text only closes it. */
function stripUnopenedReasoning(text: string): string {
  const close = CLOSE_TAG.exec(text);
  if (close === null) return text;
  const open = text.indexOf(OPEN_TAG);
  if (open >= 0 && open < close.index) return text;
  return text.slice(close.index + close[0].length).trimStart();
}
