// Reads server-sent events as a browser does: an event counts when its blank line has come, ids stay until changed.
// Source: WHATWG HTML, section 9.2.6.

export interface ReceivedEvent {
  readonly event: string;
  readonly data: string;
  /** The last id up to and including this event. */
  readonly id: string;
}

export function readEvents(text: string): { events: ReceivedEvent[]; retry: string[]; comments: string[] } {
  const events: ReceivedEvent[] = [];
  const retry: string[] = [];
  const comments: string[] = [];
  let id = '';
  const blocks = text.split('\n\n');
  // What stands behind the last blank line is an event that did not come whole.
  for (const block of blocks.slice(0, -1)) {
    let event = 'message';
    const data: string[] = [];
    for (const line of block.split('\n')) {
      const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
      if (line.startsWith(':')) comments.push(line.slice(1).trim());
      else if (name === 'event') event = value;
      else if (name === 'data') data.push(value);
      else if (name === 'id') id = value;
      else if (name === 'retry') retry.push(value);
    }
    if (data.length > 0) events.push({ event, data: data.join('\n'), id });
  }
  return { events, retry, comments };
}
