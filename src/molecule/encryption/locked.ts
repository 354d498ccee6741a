import { unlessFailed, withSource } from '../../base/index.ts'
import { heldKey, lockId, type Secret, type Unlocked } from '../../crypt/index.ts'
import { openStored } from '../images/image-window.ts'
import { lockedImages, type MountSource } from '../source.ts'
import { encryptionOf } from './decryption.ts'

/** The keys of this process that a mount of a source needs, for the process that will serve it. */
export function keysFor(
  source: MountSource,
): readonly { readonly unlocked: Unlocked; readonly key: Secret }[] {
  return lockedImages(source).flatMap((file) => {
    const held = unlessFailed(() =>
      withSource(openStored(file), (stored) => {
        const form = encryptionOf(stored, file)
        return form === undefined ? undefined : heldKey(lockId(stored, form))
      }),
    )
    return held ?? []
  })
}
