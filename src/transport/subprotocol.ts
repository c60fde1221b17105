/** What is settled before the first frame: the version, and who may come in. */
import { PROTOCOL_VERSION } from './frames.ts';

const VERSION_PREFIX = 'mobillm.v';
const TOKEN_PREFIX = 'mobillm.token.';

/** The WebSocket subprotocol this end speaks. */
export const SUBPROTOCOL = `${VERSION_PREFIX}${PROTOCOL_VERSION}`;

/**
 * What a client offers: the version, and for browsers, which cannot set headers, the token as
 * base64url of its UTF-8.
 */
export function offeredProtocols(token?: string): string[] {
  return token === undefined ? [SUBPROTOCOL] : [SUBPROTOCOL, TOKEN_PREFIX + base64url(token)];
}

/** The version a client is answered with: ours where offered, else the first of mobillm's. */
export function chooseProtocol(offered: Iterable<string>): string | undefined {
  const versions = [...offered].filter((name) => name.startsWith(VERSION_PREFIX));
  return versions.includes(SUBPROTOCOL) ? SUBPROTOCOL : versions[0];
}

/** Does a client bring the token, as a bearer header or among the protocols it offers? */
export function bringsToken(
  token: string,
  authorization: string | undefined,
  offered: Iterable<string>,
): boolean {
  const wanted = TOKEN_PREFIX + base64url(token);
  let found = sameText(authorization ?? '', `Bearer ${token}`);
  for (const name of offered) found = sameText(name, wanted) || found;
  return found;
}

/** Equality in time that tells nothing but the lengths. */
function sameText(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < b.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

function base64url(text: string): string {
  const bytes = new TextEncoder().encode(text);
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}
