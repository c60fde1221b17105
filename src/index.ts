/**
 * mobillm by its parts, each a sub-path of its own so that a page loads what it uses and no more:
 * `mobillm/tensor` (tensors, autograd, backends), `mobillm/quant` (integer weights, the activation
 * codec), `mobillm/model` (backbones, side networks, files), `mobillm/data`, `mobillm/transport` (and
 * `mobillm/transport/ws-node`), `mobillm/device`, `mobillm/server`, `mobillm/trace`, and
 * `mobillm/platform` (and `mobillm/platform/node`). Here is what all of them share: the errors.
 * @module
 */
export * from './tensor/errors.ts';
