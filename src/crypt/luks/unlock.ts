import { type ByteSource, FsError } from '../../base/index.ts'
import { type KdfLimits, TimeBudget } from '../kdf/limits.ts'
import { isKey, openKeyslot } from './keyslot.ts'
import type { LuksMetadata } from './layout.ts'

/**
 * Finds the key of an image: tries its keyslots one after the other.
 * @param image from the first byte of the header
 * @param passphrase stays the caller's, who wipes it
 * @returns the key; the caller wipes it
 * @throws FsError EKEYREJECTED where it opens none of them; ENOMEM, ETIME for a derivation that is not allowed, before it
 *   starts; EIO, EOPNOTSUPP
 */
export async function unlockLuks(
  image: ByteSource,
  { keyslots, digest }: LuksMetadata,
  passphrase: Uint8Array,
  limits: KdfLimits,
): Promise<Buffer> {
  const opening = { limits, budget: new TimeBudget(limits) }
  const slots = keyslots.filter(({ priority }) => priority > 0)
  const failures: FsError[] = []
  for (const slot of slots) {
    try {
      const key = await openKeyslot(image, slot, passphrase, opening)
      if (await isKey(key, digest, image.label, opening)) return key
      key.fill(0)
    } catch (error) {
      // Another keyslot may ask for less.
      if (!(error instanceof FsError)) throw error
      failures.push(error)
    }
  }
  const [failure] = failures
  if (failure !== undefined) throw failure
  throw new FsError('EKEYREJECTED', `${image.label}: ${refusal(slots.length)}`)
}

const WRONG = 'the passphrase or key is wrong: it does not open the image'

function refusal(count: number): string {
  if (count === 0) return 'has no keyslot that could be opened'
  return count === 1 ? WRONG : `${WRONG} (${count} keyslots were tried)`
}
