import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { explainRefusal, hubAccess } from '../../../src/cli/pull-hub-access.ts';

describe('hubAccess', () => {
  it("reads the hub's own variables, the narrower before the wider", () => {
    const cacheOf = (env: NodeJS.ProcessEnv) => hubAccess(env).cache;
    assert.equal(cacheOf({}), join(homedir(), '.cache', 'huggingface', 'hub'));
    const wide = { XDG_CACHE_HOME: '/x' };
    assert.equal(cacheOf(wide), join('/x', 'huggingface', 'hub'));
    assert.equal(cacheOf({ ...wide, HF_HOME: '/h' }), join('/h', 'hub'));
    assert.equal(cacheOf({ ...wide, HF_HOME: '/h', HF_HUB_CACHE: '/c' }), '/c');
  });

  it('takes an empty variable for one that is not set', () => {
    const hub = hubAccess({ HF_ENDPOINT: '', HF_TOKEN: ' ', HF_HUB_OFFLINE: '', HF_HOME: '' });
    assert.deepEqual(hub, hubAccess({}));
    assert.equal(hub.endpoint, 'https://huggingface.co');
    assert.deepEqual([hub.token, hub.offline], [undefined, false]);
    assert.equal(hubAccess({ HF_ENDPOINT: 'http://mirror/hub//' }).endpoint, 'http://mirror/hub');
  });

  it('is offline for what means yes', () => {
    for (const yes of ['1', 'true', 'YES', 'on'])
      assert.ok(hubAccess({ HF_HUB_OFFLINE: yes }).offline);
    for (const no of ['0', 'false', '', 'no'])
      assert.ok(!hubAccess({ HF_HUB_OFFLINE: no }).offline);
  });
});

describe('explainRefusal', () => {
  const place = { repo: 'a/b', revision: 'v1' };
  const explained = (status: number, code?: string, token?: string) => {
    const headers = code ? { 'x-error-code': code } : undefined;
    const hub = hubAccess({ HF_TOKEN: token, HF_ENDPOINT: 'http://hub' });
    return explainRefusal(new Response('', { status, headers }), place, hub);
  };

  it('never shows the token', () => {
    for (const status of [401, 403, 404, 500]) {
      assert.doesNotMatch(explained(status, undefined, 'hf_secret').message, /secret/);
    }
  });

  it('tells what is missing', () => {
    assert.match(explained(404, 'EntryNotFound').message, /a\/b: it has no such file at v1/);
    assert.match(explained(404, 'RevisionNotFound').message, /no revision v1/);
    assert.match(explained(404).message, /no such repository, or hides it/);
    assert.match(explained(451).message, /status 451/);
  });
});
