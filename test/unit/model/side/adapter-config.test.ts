import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type AdapterConfig, parseAdapterConfig } from '../../../../src/model/adapter.ts';
import { FormatError } from '../../../../src/tensor/index.ts';
import { ADAPTER_CONFIG as CONFIG } from '../../../support/adapter.ts';

const parse = (value: unknown) => parseAdapterConfig(value, 'a/adapter_config.json');
const faultOf = (value: unknown): string => {
  try {
    parse(value);
  } catch (error) {
    assert.ok(error instanceof FormatError);
    assert.equal(error.code, 'E_ADAPTER');
    return error.message;
  }
  throw new Error('it was taken');
};

describe('parseAdapterConfig', () => {
  it('takes what was written, through JSON', () => {
    assert.deepEqual(parse(JSON.parse(JSON.stringify(CONFIG))), CONFIG);
    const seeded = { ...CONFIG, base_model: { ...CONFIG.base_model, random_seed: 3 } };
    assert.deepEqual(parse(seeded), seeded);
  });

  it('ignores keys it does not know, as later releases may add some', () => {
    assert.deepEqual(parse({ ...CONFIG, later: 1 }), CONFIG);
  });

  it('names file and key of each fault', () => {
    const faults: [Record<string, unknown>, string][] = [
      [{ peft_type: 'LORA' }, 'peft_type'],
      [{ format_version: 1 }, 'format_version'],
      [{ format_version: 3 }, 'format_version'],
      [{ task_type: 'TOKEN_CLS' }, 'task_type'],
      [{ task_type: 'CAUSAL_LM' }, 'lm'],
      [{ base_model: { ...CONFIG.base_model, sha256: 'ab' } }, 'base_model.sha256'],
      [{ base_model: { ...CONFIG.base_model, hidden_size: 0 } }, 'base_model.hidden_size'],
      [{ precision: 'int2' }, 'precision'],
      [{ labels: [] }, 'labels'],
      [{ labels: ['a', 1] }, 'labels.1'],
      [{ side: 'lora' }, 'side'],
      [{ rank: 1.5 }, 'rank'],
      [{ gate_rate: 0 }, 'gate_rate'],
      [{ template: undefined }, 'template'],
      [{ layers: [] }, 'layers'],
      [{ layers: [1, -1] }, 'layers.1'],
      [{ taps: ['middle'] }, 'taps.0'],
      [{ codec: { bits: 5, group_size: 64 } }, 'codec.bits'],
      [{ max_seq_length: 0 }, 'max_seq_length'],
      [{ metrics: null }, 'metrics'],
    ];
    for (const [change, key] of faults) {
      const message = faultOf({ ...CONFIG, ...change });
      assert.ok(message.startsWith(`a/adapter_config.json: ${key}: `), message);
    }
    for (const nothing of [undefined, null, 1, 'x', []]) {
      assert.match(faultOf(nothing), /^a\/adapter_config\.json: document: /);
    }
  });

  it('fails with a typed error or not at all, whatever stands in the file', () => {
    const keys = Object.keys(CONFIG) as (keyof AdapterConfig)[];
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.jsonValue(), (key, value) => {
        try {
          parse({ ...CONFIG, [key]: value });
        } catch (error) {
          assert.ok(error instanceof FormatError);
          assert.ok(error.message.includes(`: ${key}`), error.message);
        }
      }),
    );
  });
});
