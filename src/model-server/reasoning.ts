// Takes a model's reasoning off its answer, where the server left it in the text. Only reasoning that leads the
// text is taken: later on, the tag is something the answer talks about.

const LEADING_BLOCK = /^\s*<think>[\s\S]*?(?:<\/think>|$)/;
const OPEN_TAG = '<think>';
const CLOSE_TAG = '</think>';

/** The answer without leading `<think>` blocks; empty when the text never got beyond its reasoning. */
export function stripReasoning(text: string): string {
  let rest = text;
  while (LEADING_BLOCK.test(rest)) rest = rest.replace(LEADING_BLOCK, '');
  return rest === text ? stripUnopenedReasoning(text) : rest.trimStart();
}

/** Some chat templates put the opening tag into the prompt, so that the model's text only closes it. */
function stripUnopenedReasoning(text: string): string {
  const close = text.indexOf(CLOSE_TAG);
  if (close < 0) return text;
  const open = text.indexOf(OPEN_TAG);
  if (open >= 0 && open < close) return text;
  return text.slice(close + CLOSE_TAG.length).trimStart();
}
