import { FsError } from '../../base/index.ts'
import type { Tier } from '../common/codec.ts'
import {
  type Encoder,
  type EncoderCandidate,
  type EncoderName,
  type EncoderSettings,
  LEVEL_RANGES,
} from './encoder.ts'
import { GZIP_ENCODERS } from './gzip.ts'
import { LZ4_ENCODERS } from './lz4.ts'
import { XZ_ENCODERS } from './xz.ts'
import { ZSTD_ENCODERS } from './zstd.ts'

/** Every way to encode, best first. */
export const ENCODERS: Readonly<Record<EncoderName, readonly EncoderCandidate[]>> = {
  gzip: GZIP_ENCODERS,
  zstd: ZSTD_ENCODERS,
  lz4: LZ4_ENCODERS,
  xz: XZ_ENCODERS,
}

export const ENCODER_NAMES = Object.keys(ENCODERS) as EncoderName[]

function allowed(name: EncoderName): readonly EncoderCandidate[] {
  return process.env['ATOMFS_CODECS'] === 'portable' ? ENCODERS[name].slice(-1) : ENCODERS[name]
}

/** @returns undefined if a library lacks a function, or a package does not start */
export function tryEncoder(candidate: EncoderCandidate, settings: EncoderSettings): Encoder | undefined {
  try {
    return candidate.open(settings)
  } catch {
    return undefined
  }
}

/**
 * The best encoder of this machine, with a context of its own.
 * @throws FsError EINVAL for a level out of range; EOPNOTSUPP if this machine has no encoder, never another one
 */
export function openEncoder(settings: EncoderSettings): Encoder {
  const { name, level } = settings
  const [least, most] = LEVEL_RANGES[name]
  if (level !== undefined && !(Number.isInteger(level) && level >= least && level <= most)) {
    throw new FsError('EINVAL', `compression level ${level}: ${name} has ${least} to ${most}`)
  }
  for (const candidate of allowed(name)) {
    const encoder = tryEncoder(candidate, settings)
    if (encoder !== undefined) return encoder
  }
  const missing = allowed(name).map(({ library }) => library)
  throw new FsError('EOPNOTSUPP', `no encoder for ${name}: found none of ${missing.join(', ')}`)
}

/** What encodes for one compressor on this machine. */
export interface EncoderReport {
  readonly name: EncoderName
  readonly tier: Tier
  readonly library: string
  /** What else this machine has, best first. */
  readonly alternatives: readonly string[]
}

/** What `doctor` shows. Loads all encoders; compressors that cannot be written here are left out. */
export function listEncoders(): EncoderReport[] {
  return ENCODER_NAMES.flatMap((name) => {
    const [best, ...others] = allowed(name)
      .map((candidate) => tryEncoder(candidate, { name, blockSize: 1 << 17 }))
      .filter((encoder) => encoder !== undefined)
    if (best === undefined) return []
    return [
      { name, tier: best.tier, library: best.library, alternatives: others.map(({ library }) => library) },
    ]
  })
}
