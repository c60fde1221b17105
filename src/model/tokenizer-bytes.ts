import type { DecodeStream } from './tokenizer.ts';

/**
 * GPT-2's map between bytes and printable characters, backwards: character -> byte. Printable
 * bytes stand for themselves, the others follow from U+0100 in order.
 * Source: GPT-2's encoder.py, `bytes_to_unicode`.
 */
function characterBytes(): Map<string, number> {
  const map = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    map.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return map;
}

const encoder = new TextEncoder();

/** The bytes that a token of a byte-level vocabulary stands for. */
export function byteLevelBytes(): (token: string) => Uint8Array {
  const byteOf = characterBytes();
  return (token) => {
    const bytes: number[] = [];
    for (const character of token) {
      const byte = byteOf.get(character);
      if (byte === undefined) bytes.push(...encoder.encode(character));
      else bytes.push(byte);
    }
    return Uint8Array.from(bytes);
  };
}

/**
 * The bytes that a token of a SentencePiece vocabulary stands for: U+2581 is a space, `<0x0A>` a
 * byte where the vocabulary falls back to bytes.
 */
export function metaspaceBytes(byteFallback: boolean): (token: string) => Uint8Array {
  return (token) => {
    const byte = byteFallback ? /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1] : undefined;
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
    return encoder.encode(token.replaceAll('\u2581', ' '));
  };
}

/** Decodes ids whose tokens are bytes of UTF-8. @param skipSpace leave out one space at the start */
export function byteDecoding(
  bytesOf: (id: number) => Uint8Array,
  skipSpace = false,
): { decode: (ids: Iterable<number>) => string; decodeStream: () => DecodeStream } {
  const decodeStream = (): DecodeStream => {
    // In a stream this decoder keeps the bytes of an unfinished character back by itself.
    const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
    let atStart = skipSpace;
    return {
      push(id) {
        const text = utf8.decode(bytesOf(id), { stream: true });
        if (!atStart || text === '') return text;
        atStart = false;
        return text.startsWith(' ') ? text.slice(1) : text;
      },
      flush: () => utf8.decode(),
    };
  };
  return {
    decode(ids) {
      const stream = decodeStream();
      let text = '';
      for (const id of ids) text += stream.push(id);
      return text + stream.flush();
    },
    decodeStream,
  };
}
