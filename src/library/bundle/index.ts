/** The names of crossplane's package `store/overlay`; docs/crossplane-names.md compares them one by one. */

export { CachingBundler, type CachingBundlerOptions } from './bundler.ts'
export {
  type RuntimeSpecOption,
  withCpuLimit,
  withHostNetwork,
  withMemoryLimit,
  withRootFs,
  withSpecOptions,
} from './options.ts'
export { RuntimeSpecWriter } from './spec-writer.ts'
export { supported } from './supported.ts'
