import * as v from 'valibot'
import { FsError } from '../base/index.ts'
import { type Digest, parseDigest } from './digest.ts'
import { type ImageConfig, parseValue } from './schema.ts'

/** What a configuration says of the layers (config.md, "Properties"). */
const LayersSchema = v.looseObject({
  rootfs: v.nullish(v.looseObject({ diff_ids: v.nullish(v.array(v.string())) })),
  history: v.nullish(v.array(v.looseObject({ empty_layer: v.nullish(v.boolean()) }))),
})

/**
 * Digests of the layers without compression, bottom first.
 * @param count layers of the manifest
 * @returns undefined where the configuration names none, as those of artefacts
 * @throws FsError EIO where it names another number of layers, and for a malformed digest
 */
export function diffIdsOf(config: ImageConfig, count: number, where: string): readonly Digest[] | undefined {
  const { rootfs } = parseValue(LayersSchema, config, where)
  const diffIds = rootfs?.diff_ids ?? []
  if (diffIds.length === 0) return undefined
  if (diffIds.length !== count) {
    throw new FsError('EIO', `${where}: ${diffIds.length} diff_ids, and the manifest has ${count} layers`)
  }
  return diffIds.map((text) => parseDigest(text, where))
}

/** The same configuration for other bytes of the same layers. @param diffIds bottom first */
export function withDiffIds(config: ImageConfig, diffIds: readonly string[]): ImageConfig {
  return { ...config, rootfs: { type: 'layers', diff_ids: diffIds } }
}

/**
 * The same configuration for one layer in place of all. Its history stays, but only the last step has made a layer.
 * @param createdBy that step
 */
export function withOneLayer(config: ImageConfig, diffId: string, createdBy: string): ImageConfig {
  const { history } = parseValue(LayersSchema, config, 'image configuration')
  const before = (history ?? []).map((step) => ({ ...step, empty_layer: true }))
  return { ...withDiffIds(config, [diffId]), history: [...before, { created_by: createdBy }] }
}
