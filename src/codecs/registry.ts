import { FsError } from '../base/index.ts'
import {
  type Candidate,
  COMPRESSOR_NAMES,
  type Codec,
  type CompressorName,
  type Tier,
} from './common/codec.ts'
import { GZIP } from './gzip.ts'
import { LZ4 } from './lz4.ts'
import { LZMA, XZ } from './lzma/lzma.ts'
import { LZO } from './lzo.ts'
import { ZSTD } from './zstd.ts'

/** Every way to decode, best first. */
export const CANDIDATES: Readonly<Record<CompressorName, readonly Candidate[]>> = {
  gzip: GZIP,
  lzma: LZMA,
  lzo: LZO,
  xz: XZ,
  lz4: LZ4,
  zstd: ZSTD,
}

/** One codec per candidate and thread: its context costs up to 96 KB, and an image more costs nothing. */
const opened = new Map<Candidate, Codec | undefined>()

/** Loads one candidate. @returns undefined where this machine does not have it */
export function openCandidate(candidate: Candidate): Codec | undefined {
  if (!opened.has(candidate)) {
    let codec: Codec | undefined
    try {
      codec = candidate.open()
    } catch {
      // A library without a function we call, or a package that does not start: as good as absent.
    }
    opened.set(candidate, codec)
  }
  return opened.get(candidate)
}

/** The candidates `ATOMFS_CODECS` leaves: all of them, or with `portable` only the last. */
function allowed(name: CompressorName): readonly Candidate[] {
  const candidates = CANDIDATES[name]
  return process.env['ATOMFS_CODECS'] === 'portable' ? candidates.slice(-1) : candidates
}

/**
 * The best decoder this machine has. Nothing is loaded before the first call; a thread gets the same instance each time.
 * @throws FsError EOPNOTSUPP where there is none, naming what would help
 */
export function openCodec(name: CompressorName): Codec {
  const candidates = allowed(name)
  for (const candidate of candidates) {
    const codec = openCandidate(candidate)
    if (codec !== undefined) return codec
  }
  const missing = candidates.map((candidate) => candidate.library).join(', ')
  throw new FsError('EOPNOTSUPP', `no decoder for squashfs compressor ${name}: found none of ${missing}`)
}

/** The decoder of one compressor on this machine. */
export interface CodecReport {
  readonly name: CompressorName
  readonly tier: Tier
  readonly library: string
  /** What else this machine has, best first. */
  readonly alternatives: readonly string[]
}

/** What `doctor` shows: the decoder in use for every compressor. Loads all of them; absent compressors are left out. */
export function listCodecs(): CodecReport[] {
  return COMPRESSOR_NAMES.flatMap((name) => {
    const codecs = allowed(name)
      .map(openCandidate)
      .filter((codec) => codec !== undefined)
    const [best, ...others] = codecs
    if (best === undefined) return []
    const alternatives = others.map((codec) => codec.library)
    return [{ name, tier: best.tier, library: best.library, alternatives }]
  })
}
