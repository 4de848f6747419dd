// Server-sent events out of decoded text, in whatever pieces it arrives: lines end in LF, CRLF or CR, also when
// CR and LF come in different pieces; comments are dropped; several data lines are one event. Linear in the
// input: a partial line is kept as it is and never scanned twice. One thing is not of the standard: llama.cpp
// used to send an error in a field of that name, which counts as an event "error".
// Source: WHATWG HTML, "Server-sent events", section 9.2.6 (interpreting an event stream).

export interface ServerSentEvent {
  /** Empty when the server named none. */
  readonly event: string;
  readonly data: string;
}

export class SseParser {
  readonly #lineEnd = /\r\n?|\n/g;
  #partialLine = '';
  #isAfterCarriageReturn = false;
  #event = '';
  #dataLines: string[] = [];

  /** The events that `text` completes. */
  push(text: string): ServerSentEvent[] {
    if (text === '') return [];
    const events: ServerSentEvent[] = [];
    let start = this.#isAfterCarriageReturn && text.startsWith('\n') ? 1 : 0;
    this.#lineEnd.lastIndex = start;
    for (let match = this.#lineEnd.exec(text); match !== null; match = this.#lineEnd.exec(text)) {
      const event = this.#takeLine(this.#partialLine + text.slice(start, match.index));
      if (event !== null) events.push(event);
      this.#partialLine = '';
      start = this.#lineEnd.lastIndex;
    }
    this.#isAfterCarriageReturn = text.endsWith('\r');
    this.#partialLine += text.slice(start);
    return events;
  }

  /** The event the stream ended in without the blank line that should close it; some servers leave it out. */
  end(): ServerSentEvent | null {
    this.#takeLine(this.#partialLine);
    this.#partialLine = '';
    return this.#takeLine('');
  }

  #takeLine(line: string): ServerSentEvent | null {
    if (line === '') return this.#closeEvent();
    const colon = line.indexOf(':');
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const rest = colon < 0 ? '' : line.slice(colon + 1);
    const value = rest.startsWith(' ') ? rest.slice(1) : rest;
    if (field === 'data') this.#dataLines.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'error') {
      this.#event = 'error';
      this.#dataLines.push(value);
    }
    return null;
  }

  #closeEvent(): ServerSentEvent | null {
    const event = this.#event;
    this.#event = '';
    if (this.#dataLines.length === 0) return null;
    const data = this.#dataLines.join('\n');
    this.#dataLines = [];
    return { event, data };
  }
}
