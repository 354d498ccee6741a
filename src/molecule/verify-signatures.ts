import { closeSync, openSync, readFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import {
  objectById,
  readPublicKey,
  readSif,
  type SignaturesReport,
  type SignatureVerdict,
  signedBytes,
  verifySignatures,
} from '../../sif/index.ts'
import {
  errnoCodeOf,
  FsError,
  type NamedSource,
  type PathText,
  systemPath,
  withFsError,
} from '../base/index.ts'
import { FileSource } from '../sys/files/file-source.ts'
import { absolutePath } from '../sys/files/working-directory.ts'

/** Whom a user trusts to sign, for SOURCES that carry signatures. */
export interface SignerRequest {
  /** Files with public keys or certificates in PEM. */
  readonly keys?: readonly PathText[] | undefined
  /** Keyring for gpgv. */
  readonly keyring?: PathText | undefined
  /** Signatures that cover data alone count, too: those from before Singularity 3.6. */
  readonly legacy?: boolean | undefined
}

/** Verdict on a thing that was compared with what is known of it: an image, an object of a file with signatures. */
export interface Verdict {
  readonly label: string
  readonly state: 'verified' | 'unverified' | 'failed'
  /** Bytes that were compared. */
  readonly bytes: number
  /** Why it is not `verified`, one line. */
  readonly message?: string
  /** The bytes are those that were signed, and nobody checked who signed; then the state is `unverified`. */
  readonly digestsMatch?: boolean
}

/** What the signatures of a file say of the objects in it. */
export interface SignedReport {
  readonly layers: readonly Verdict[]
  readonly signatures: readonly SignatureVerdict[]
  readonly bytes: number
}

/** How many bytes are hashed before others get their turn. */
const TURN = 16 << 20

/** Whether what a source names carries signatures in its own file. */
export function mayBeSigned({ container, offset }: NamedSource): boolean {
  return container === 'sif' && offset === undefined
}

/**
 * Compares all that the signatures of a SIF file cover with what is there.
 * @throws FsError where the file or a key cannot be read
 */
export async function verifySigned(
  { path, tag }: NamedSource,
  { keys = [], keyring, legacy }: SignerRequest,
  onProgress: (done: number, total: number) => void,
  signal?: AbortSignal,
): Promise<SignedReport> {
  const trusted = {
    keys: keys.map((file) =>
      readPublicKey(
        withFsError(file, () => readFileSync(systemPath(absolutePath(file)))),
        file,
      ),
    ),
    keyring: keyring === undefined ? undefined : absolutePath(keyring),
    legacy,
  }
  const fd = openFile(path)
  const source = new FileSource(fd, path)
  try {
    const sif = readSif(source)
    const only = tag === undefined ? undefined : objectById(sif, Number(tag))
    const total = signedBytes(sif)
    let done = 0
    let turn = 0
    const report = await verifySignatures(sif, trusted, async (bytes) => {
      done += bytes
      turn += bytes
      if (turn < TURN) return
      turn = 0
      onProgress(done, Math.max(done, total))
      await setImmediate()
      signal?.throwIfAborted()
    })
    const objects = report.objects.filter(({ object }) => only === undefined || object.slot === only.slot)
    return { layers: verdicts({ ...report, objects }, path), signatures: report.signatures, bytes: done }
  } finally {
    source.close()
    closeSync(fd)
  }
}

function verdicts({ objects }: SignaturesReport, path: PathText): readonly Verdict[] {
  return objects.map(({ object, title, state, reason }) => ({
    label: `${path}: ${title}`,
    state: state === 'verified' || state === 'failed' ? state : 'unverified',
    bytes: state === 'verified' || state === 'unchecked' ? object.size : 0,
    ...(state === 'unchecked' ? { digestsMatch: true } : {}),
    ...(reason === undefined ? {} : { message: reason }),
  }))
}

function openFile(path: PathText): number {
  try {
    return openSync(systemPath(path), 'r')
  } catch (error) {
    const code = errnoCodeOf(error)
    throw new FsError(code, `${path}: cannot be opened: ${code}`, { cause: error })
  }
}
