import type { ByteSource, ImageFile } from '../../base/index.ts'
import { heldKey, type KdfLimits, type KeySource, lockId } from '../../crypt/index.ts'
import { type DerivedKeys, unlockImage } from '../../crypt/unlock.ts'
import { openStored } from '../images/image-window.ts'
import { lockedImages, type MountSource } from '../source.ts'
import { encryptionOf } from './decryption.ts'
import { gocryptfsContent } from './gocryptfs-content.ts'

/** Where keys come from, and what finding them may take. */
export interface UnlockOptions {
  readonly keys: KeySource
  readonly limits: KdfLimits
}

/**
 * Finds the keys of all encrypted images that a source leads to. They stay with this process (`wipeKeys`), which can then
 * open the source, or have it mounted.
 * @returns what people should know, a line each
 * @throws FsError ENOKEY where there is no key; EKEYREJECTED for a wrong one; ENOMEM, ETIME where a key may not be derived;
 *   EIO for damage
 */
export async function unlockSource(source: MountSource, options: UnlockOptions): Promise<readonly string[]> {
  const warnings: string[] = []
  const derived: DerivedKeys = new Map()
  for (const file of lockedImages(source)) {
    const image = openStored(file)
    try {
      warnings.push(...(await unlockFile(image, file, options, derived)))
    } finally {
      image.close()
    }
  }
  return warnings
}

async function unlockFile(
  image: ByteSource,
  file: ImageFile,
  { keys, limits }: UnlockOptions,
  derived: DerivedKeys,
): Promise<readonly string[]> {
  const form = encryptionOf(image, file)
  if (form === undefined || heldKey(lockId(image, form)) !== undefined) return []
  const note = file.encryption ?? { form }
  const locked = { image, note, content: () => gocryptfsContent(image) }
  return await unlockImage(locked, keys, limits, derived)
}
