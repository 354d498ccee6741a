import type { ByteSource, EncryptionForm, ImageFile } from '../../base/index.ts'
import {
  heldKey,
  isEncryptedBehindDamage,
  isHeaderMagic,
  keyMissing,
  lockId,
  type Secret,
  type Unlocked,
} from '../../crypt/index.ts'
import { LAYER_TYPES } from '../../kinds/kinds.ts'
import type { TransformSpec } from '../../transforms/index.ts'

/** What a kind may look at to tell its images, bytes. */
const HEAD_BYTES = 4096

/**
 * How the bytes of an image are encrypted; undefined where they are not. Its container says it, or its content does.
 * @param stored the bytes as they lie in the file
 * @throws FsError EIO where they cannot be read
 */
export function encryptionOf(stored: ByteSource, file: ImageFile): EncryptionForm | undefined {
  if (file.encryption !== undefined) return file.encryption.form
  if (file.kind !== undefined) return undefined
  const head = new Uint8Array(Math.min(HEAD_BYTES, stored.size))
  if (head.length > 0) stored.readInto(0, head)
  if (isHeaderMagic(head, 'primary')) return 'luks2'
  // What looks like the second copy of a header may be data of an image.
  if (LAYER_TYPES.kindOfContent(head) !== undefined) return undefined
  return isEncryptedBehindDamage(stored) ? 'luks2' : undefined
}

/**
 * What stands over the bytes of an image so that they can be read: nothing where they are not encrypted.
 * @throws FsError ENOKEY where this process has no key for it
 */
export function decryption(stored: ByteSource, file: ImageFile): readonly TransformSpec[] {
  const form = encryptionOf(stored, file)
  if (form === undefined) return []
  const held = heldKey(lockId(stored, form))
  if (held === undefined) throw keyMissing(file.label, file.encryption ?? { form })
  return transformsOf(held.unlocked, held.key)
}

function transformsOf(unlocked: Unlocked, key: Secret): readonly TransformSpec[] {
  if (unlocked.form === 'luks2') {
    const { offset, size, sectorSize, ivTweak } = unlocked
    return [{ kind: 'luks', segment: { offset, size, sectorSize, ivTweak, key } }]
  }
  const { pieces, fileId } = unlocked
  return [
    { kind: 'pieces', pieces },
    { kind: 'gocryptfs', file: { fileId, key } },
  ]
}
