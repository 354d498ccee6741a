import { generateKeyPairSync } from 'node:crypto'
import type { ErrnoCode } from '../../src/base/index.ts'
import { decodeConfig } from '../../src/crypt/gocryptfs/config.ts'
import { keepSecret } from '../../src/crypt/index.ts'
import { decryptMessage } from '../../src/crypt/keys/pem.ts'
import { readLuksHeader } from '../../src/crypt/luks/header.ts'
import { LuksSource } from '../../src/crypt/luks/luks-source.ts'
import { decodeMetadata } from '../../src/crypt/luks/metadata.ts'
import { unlockLuks } from '../../src/crypt/luks/unlock.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { makeLuks, repairChecksum } from '../library/images/luks.ts'
import type { FuzzTarget } from './driver.ts'

const PASSPHRASE = Buffer.from('passphrase')
const LIMITS = { memory: 8 << 20, seconds: 1 }
const REFUSALS: readonly ErrnoCode[] = ['EIO', 'EINVAL', 'EOPNOTSUPP', 'EKEYREJECTED', 'ENOMEM', 'ETIME']

const IMAGE = makeLuks({ plain: Buffer.alloc(4096, 7), passphrase: PASSPHRASE.toString(), stripes: 4 })
const JSON_AREA = IMAGE.subarray(4096, IMAGE.indexOf(0, 4096))
const ARGON2 = makeLuks({
  plain: Buffer.alloc(4096, 7),
  passphrase: PASSPHRASE.toString(),
  stripes: 4,
  change: (metadata) => {
    const slot = metadata.keyslots['0']!
    slot.kdf = { type: 'argon2id', time: 1, memory: 64, cpus: 2, salt: slot.kdf['salt'] }
    return metadata
  },
})

/** Headers whose checksums are right whatever else is wrong, or nobody could come further. */
function repaired(input: Uint8Array): Buffer {
  const image = Buffer.from(input)
  for (const at of [0, 16_384]) {
    if (image.length < at + 32_768) continue
    const size = image.readBigUInt64BE(at + 8)
    if (size >= 4096n && size <= image.length - at) repairChecksum(image, at)
  }
  return image
}

async function open(image: Buffer): Promise<void> {
  const source = memorySource(image)
  const { metadata } = readLuksHeader(source)
  const key = await unlockLuks(source, metadata, PASSPHRASE, LIMITS)
  const plain = new LuksSource(source, { ...metadata.segment, key: keepSecret(key) })
  plain.readInto(0, new Uint8Array(Math.min(plain.size, 8192)))
  plain.close()
}

const pair = generateKeyPairSync('rsa', { modulusLength: 1024 })
const MESSAGE = Buffer.from(
  `-----BEGIN MESSAGE-----\n${Buffer.concat([Buffer.of(4, 0x81, 128), Buffer.alloc(128, 1)]).toString('base64')}\n-----END MESSAGE-----\n`,
)
const CONFIG = Buffer.from(
  JSON.stringify({
    Creator: 'gocryptfs 2.3',
    EncryptedKey: Buffer.alloc(64).toString('base64'),
    ScryptObject: { Salt: Buffer.alloc(32).toString('base64'), N: 65_536, R: 8, P: 1, KeyLen: 32 },
    Version: 2,
    FeatureFlags: ['GCMIV128', 'HKDF', 'PlaintextNames'],
  }),
)

/** Passes over a refusal that the sample itself meets. */
function expectingRefusal(run: () => void): void {
  try {
    run()
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EKEYREJECTED')) throw error
  }
}

/** Encrypted images, their metadata, and what holds their keys. */
export const ENCRYPTION_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'LUKS2 image',
    samples: [IMAGE],
    run: (input) => open(repaired(input)),
    codes: REFUSALS,
  },
  {
    name: 'LUKS2 metadata',
    samples: [JSON_AREA, ARGON2.subarray(4096, ARGON2.indexOf(0, 4096))],
    run: (input) => {
      const { keyslots, segment } = decodeMetadata(input, { label: 'x', size: 50_000, headersEnd: 32_768 })
      if (keyslots.length > 32 || segment.offset + segment.size > 50_000) throw new Error('not checked')
    },
    codes: REFUSALS,
  },
  {
    name: 'gocryptfs.conf',
    samples: [CONFIG],
    run: (input) => void decodeConfig(input, 'x'),
    codes: REFUSALS,
  },
  {
    name: 'message with a key',
    samples: [MESSAGE],
    run: (input) => expectingRefusal(() => decryptMessage(input, pair.privateKey, 'x')),
    codes: REFUSALS,
  },
]
