/** OCI runtime bundles, and containers of them. */

export { Bundle, type BundleRequest, createBundle, describeContainer } from './bundle.ts'
export { removeBundle } from './removal.ts'
export { type RunRequest, runContainer } from './run/run.ts'
export { type RunConfig, runConfigOf } from './spec/image-config.ts'
export { byteLimit, parseQuantity } from './spec/limits.ts'
export { type Network, parseMount, type WantedMount } from './spec/mounts.ts'
export type { SpecOptions } from './spec/runtime-spec.ts'
export type { RuntimeSpec } from './spec/types.ts'
