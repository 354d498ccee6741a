/** The names of crossplane's package `store/overlay`; docs/crossplane-names.md compares them one by one. */

export { CachingBundler, type CachingBundlerOptions } from './bundler.ts'
export { type ImageLayer, type ImageLayers, openImageLayers } from './image-layers.ts'
export { CachingLayerResolver, type LayerResolver, type LayerResolverOptions } from './layer-resolver.ts'
export {
  LayerWorkdir,
  type NewLayerWorkdirOption,
  type WorkDirOptions,
  withNewOverlayMountFn,
} from './layer-workdir.ts'
export {
  type RuntimeSpecOption,
  withCpuLimit,
  withHostNetwork,
  withImageConfig,
  withMemoryLimit,
  withRootFs,
  withSpecOptions,
  withUser,
} from './options.ts'
export {
  defaultNewOverlayMount,
  type Mount,
  type NewOverlayMountFn,
  type OverlayDirectories,
  OverlayMount,
} from './overlay-mount.ts'
export { RuntimeSpecWriter } from './spec-writer.ts'
export { supported } from './supported.ts'
export { TarballApplicator } from './tarball.ts'
