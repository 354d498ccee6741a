import { FsError } from '../base/index.ts'
import { quote } from './digest.ts'

/** Annotations of a layer's descriptor that carry the dm-verity root hash, the current name first. */
export const ROOT_HASH_ANNOTATIONS = [
  'io.stackeroci.stacker.atomfs_verity_root_hash',
  'io.stackeroci.stacker.squashfs_verity_root_hash',
] as const

/** The annotation of a PuzzleFS image's metadata that carries the fs-verity digest of their file. */
const FS_VERITY_ANNOTATION = 'io.puzzlefsoci.puzzlefs.puzzlefs_verity_root_hash'

/** The fs-verity digest that the manifest gives for a layer, hex; undefined where it gives none. @throws FsError EIO */
export function fsVerityOfLayer(
  annotations: Readonly<Record<string, string>>,
  where: string,
): string | undefined {
  const text = Object.hasOwn(annotations, FS_VERITY_ANNOTATION)
    ? annotations[FS_VERITY_ANNOTATION]
    : undefined
  return text === undefined ? undefined : checkRootHash(text, `${where}: annotation ${FS_VERITY_ANNOTATION}`)
}

/** Longest digest that dm-verity can use is 64 bytes; refuse absurd lengths before anyone decodes them. */
const HEX_LIMIT = 128

/**
 * The root hash that the manifest gives for a layer, in lower-case hex; undefined where it gives none.
 * A value that is present but unusable is refused: to ignore it would silently drop the verification.
 * @throws FsError EIO
 */
export function rootHashOf(annotations: Readonly<Record<string, string>>, where: string): string | undefined {
  let found: { readonly name: string; readonly hash: string } | undefined
  for (const name of ROOT_HASH_ANNOTATIONS) {
    const text = Object.hasOwn(annotations, name) ? annotations[name] : undefined
    if (text === undefined) continue
    const hash = checkRootHash(text, `${where}: annotation ${name}`)
    if (found !== undefined && found.hash !== hash) {
      throw new FsError(
        'EIO',
        `${where}: annotations ${found.name} (${found.hash}) and ${name} (${hash}) name different root hashes`,
      )
    }
    found ??= { name, hash }
  }
  return found?.hash
}

/**
 * A root hash in lower case.
 * @param where names the place it comes from in messages.
 * @throws FsError EIO where it is no hex text of whole bytes.
 */
export function checkRootHash(text: string, where: string): string {
  if (text.length === 0) throw new FsError('EIO', `${where}: root hash is empty`)
  if (!/^[0-9a-fA-F]+$/.test(text)) throw new FsError('EIO', `${where}: root hash ${quote(text)} is not hex`)
  if (text.length % 2 !== 0) {
    throw new FsError('EIO', `${where}: root hash has ${text.length} hex digits, expected an even number`)
  }
  if (text.length > HEX_LIMIT) {
    throw new FsError('EIO', `${where}: root hash has ${text.length} hex digits, more than ${HEX_LIMIT}`)
  }
  return text.toLowerCase()
}
