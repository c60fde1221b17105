import { type Backend, type CompiledStep, defaultBackend } from './backend.ts';
import { keep, scope } from './scope.ts';

/**
 * Compiles a pure function of trees of tensors, such as one or several train steps: on `gpu` into
 * one plan that crosses the bus once a call, on other backends into a scope around it. The caller
 * disposes what is returned. Numbers among the arguments may change from call to call.
 */
export function compile<A extends readonly unknown[], R>(
  step: (...args: A) => R,
  backend: Backend = defaultBackend(),
): CompiledStep<A, R> {
  if (backend.compile) return backend.compile(step);
  const call = async (...args: A) => keep(scope(() => step(...args)));
  return Object.assign(call, {
    executor: backend.name,
    fallbackReason: null,
    plans: 0,
    destroy: async () => {},
  });
}
