/**
 * `mobillm/model/adapter`: what an adapter folder says of itself. It stands beside `mobillm/model` because
 * its schema takes 4 MB of a thread's memory, which one that only computes can spare.
 */

export {
  ADAPTER_FORMAT_VERSION,
  type AdapterConfig,
  parseAdapterConfig,
} from './side/adapter-config.ts';
