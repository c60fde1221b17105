import { homedir } from 'node:os';
import { join } from 'node:path';
import { ProtocolError, UsageError } from '../tensor/errors.ts';

/** A stream that brings nothing for this long is given up, in ms. */
const STALL_MS = 30_000;

/** How long the hub may take to begin an answer, in ms. */
export const CONNECT_MS = 5_000;

/** Where the hub is and how it is asked, by the variables that its own library reads. */
export interface HubAccess {
  /** `HF_ENDPOINT`, without a slash at its end. */
  readonly endpoint: string;
  /** `HF_TOKEN`. */
  readonly token?: string;
  /** `HF_HUB_OFFLINE`: ask nobody. */
  readonly offline: boolean;
  /** `HF_HUB_CACHE`, else `hub` in `HF_HOME`: what other tools have fetched lies here, too. */
  readonly cache: string;
}

/** Reads the environment. */
export function hubAccess(env: NodeJS.ProcessEnv): HubAccess {
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  return {
    endpoint: (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, ''),
    token: env.HF_TOKEN?.trim() || undefined,
    offline: /^(1|true|yes|on)$/i.test(env.HF_HUB_OFFLINE ?? ''),
    cache: env.HF_HUB_CACHE || join(home, 'hub'),
  };
}

/** A repository at a revision; what an answer that refuses is explained by. */
export interface HubPlace {
  readonly repo: string;
  readonly revision: string;
}

/**
 * What an answer that is not OK says to a person, in one line with what to do next.
 * @returns UsageError `E_NOT_FOUND`, ProtocolError `E_UNAUTHORIZED`; `E_PULL` for all else
 */
export function explainRefusal(response: Response, place: HubPlace, hub: HubAccess): Error {
  const { status, headers } = response;
  const { repo, revision } = place;
  const code = headers.get('x-error-code');
  const terms = `accept its terms at ${hub.endpoint}/${repo}`;
  const unauthorized = (message: string) =>
    new ProtocolError(`${repo}: ${message}`, 'E_UNAUTHORIZED');
  if (code === 'GatedRepo' || status === 403) {
    return unauthorized(
      hub.token
        ? `the account behind HF_TOKEN may not read it; ${terms}`
        : `it is gated; ${terms} and set HF_TOKEN`,
    );
  }
  if (status === 401 && hub.token && code !== 'RepoNotFound') {
    return unauthorized('the hub does not take the token in HF_TOKEN; make a new one');
  }
  if (status === 401) {
    return unauthorized(
      'there is no such repository, or it is private; check the name, set HF_TOKEN',
    );
  }
  if (status === 404) {
    const missing =
      code === 'RevisionNotFound'
        ? `it has no revision ${revision}`
        : code === 'EntryNotFound'
          ? `it has no such file at ${revision}`
          : 'the hub has no such repository, or hides it from this token; check the name';
    return new UsageError(`${repo}: ${missing} (status 404)`, 'E_NOT_FOUND');
  }
  return new ProtocolError(`${repo}: it answered with status ${status}`, 'E_PULL');
}

/** What a request that got no answer says, in a few words. */
export function reasonOf(error: unknown): string {
  const cause = (error as { cause?: { code?: unknown; message?: unknown } } | undefined)?.cause;
  const detail = cause?.code ?? cause?.message;
  const message = error instanceof Error ? error.message : String(error);
  return detail === undefined ? message : `${message} (${String(detail)})`;
}

/** One request under watch: it ends when nothing happens for a while, or the caller's signal says so. */
export interface WatchedRequest {
  readonly signal: AbortSignal;
  /** `fetch` under this watch. */
  readonly fetch: typeof fetch;
  /** Data has come: from now on the time for silence starts anew. */
  readonly alive: () => void;
  readonly stop: () => void;
}

/** Starts a watch: first a short time until an answer begins, then a longer one from chunk to chunk. */
export function watchRequest(
  outer: AbortSignal | undefined,
  limits: { readonly connectMs?: number; readonly stallMs?: number } = {},
): WatchedRequest {
  const { connectMs = CONNECT_MS, stallMs = STALL_MS } = limits;
  const controller = new AbortController();
  const signal = outer ? AbortSignal.any([outer, controller.signal]) : controller.signal;
  let timer: NodeJS.Timeout | undefined;
  const allow = (ms: number, what: string) => {
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(new Error(what)), ms);
  };
  const alive = () => allow(stallMs, `no data for ${stallMs / 1000} s`);
  return {
    signal,
    alive,
    stop: () => clearTimeout(timer),
    fetch: async (input, init) => {
      allow(connectMs, `no answer within ${connectMs / 1000} s`);
      const response = await fetch(input, { ...init, signal });
      alive();
      return response;
    },
  };
}
