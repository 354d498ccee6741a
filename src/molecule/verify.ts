import { statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { SignatureVerdict } from '../../sif/index.ts'
import {
  DamageError,
  FsError,
  type ImageFile,
  type NamedSource,
  omitUndefined,
  systemPath,
} from '../base/index.ts'
import { verifyBlob } from '../store/index.ts'
import { entryUrl } from '../threads.ts'
import { mergeReports, type ScanReport, splitBlocks } from '../verity/index.ts'
import { bytesOfBlobs } from './blobs/scan-blobs.ts'
import { verifyBlobs } from './blobs/verify-blobs.ts'
import { type DamagedRange, nameDamage } from './damage.ts'
import { closeImage, openImage, verityOf } from './image-file.ts'
import type { LayerVerdict } from './layer-verdict.ts'
import { prepareSource } from './prepare/prepare.ts'
import { findFiles, imagesOnly } from './resolve.ts'
import type { ScanData, ScanMessage } from './scan-thread.ts'
import { namedSource, withOffset } from './source.ts'
import { type ImageSpec, isHashed } from './spec.ts'
import { mayBeSigned, type SignerRequest, verifySigned } from './verify-signatures.ts'

/** What comparing an image with its root hashes has shown. */
export interface VerifyReport {
  /** Images; of a file with signatures all objects in it. */
  readonly layers: readonly LayerVerdict[]
  /** Of a file that has signatures of its own, and was not compared with a root hash. */
  readonly signatures?: readonly SignatureVerdict[]
  readonly bytes: number
  readonly seconds: number
}

/** What is to be verified. */
export interface VerifyRequest {
  /** As on the command line, or one that is not read as text any more. */
  readonly source: string | NamedSource
  /** Hex; for an image file, or an OCI image of one layer. */
  readonly rootHash?: string | undefined
  readonly options?: {
    /** Byte position of the image in its file. */
    readonly offset?: number | undefined
  }
  /** Whom to trust, where the source has signatures. */
  readonly signers?: SignerRequest | undefined
  /** Ends the verification; it then throws the reason of the signal. */
  readonly signal?: AbortSignal | undefined
}

/** Called with the bytes done and with all bytes that will be read. */
export type VerifyProgress = (done: number, total: number) => void

/**
 * Reads a whole image and compares every block with its root hash, on all cores. Damage is in the report.
 * @throws FsError where the source cannot be read at all; EINVAL for a directory; UsageError for a source that is none
 */
export async function verifySource(
  request: VerifyRequest,
  onProgress: VerifyProgress = () => undefined,
): Promise<VerifyReport> {
  const start = process.hrtime.bigint()
  const { rootHash, signal } = request
  signal?.throwIfAborted()
  const [named, name] = namedSource(request.source)
  const source = withOffset(named, request.options?.offset)
  if (rootHash === undefined && mayBeSigned(source)) {
    const signed = await verifySigned(source, request.signers ?? {}, onProgress, signal)
    return { ...signed, seconds: Number(process.hrtime.bigint() - start) / 1e9 }
  }
  await prepareSource(source, omitUndefined({ signal }))
  const files = distinct(imagesOnly(findFiles({ source, name, rootHash }), 'verify'))
  const opened = files.map((file) => tryOpen(file, rootHash !== undefined))
  try {
    const covered = opened.reduce((sum, image) => sum + (isOpen(image) ? coveredBytes(image) : 0), 0)
    const total =
      covered + files.reduce((sum, { blob }) => sum + (blob === undefined ? 0 : sizeOfFile(blob)), 0)
    let done = 0
    const layers: LayerVerdict[] = []
    const count = (bytes: number): void => {
      done += bytes
      onProgress(done, total)
    }
    for (const [i, image] of opened.entries()) {
      const verdict = isOpen(image) ? await verifyImage(image, source, signal, count) : image
      layers.push(await withBlob(verdict, files[i]?.blob, signal, count))
    }
    const bytes = layers.reduce((sum, layer) => sum + layer.bytes, 0)
    return { layers, bytes, seconds: Number(process.hrtime.bigint() - start) / 1e9 }
  } finally {
    for (const image of opened) if (isOpen(image)) closeImage(image)
  }
}

function distinct(files: readonly ImageFile[]): ImageFile[] {
  return [...new Map(files.map((file) => [file.label, file])).values()]
}

function isOpen(image: ImageSpec | LayerVerdict): image is ImageSpec {
  return 'facts' in image
}

/**
 * A layer whose root hash does not even match its tree is a verdict, not a reason to leave out the others.
 * @param given the root hash is the user's: one of the wrong length, or a file that cannot be read, is no damage
 */
function tryOpen(file: ImageFile, given: boolean): ImageSpec | LayerVerdict {
  try {
    return openImage(file)
  } catch (error) {
    const isByDigest = file.digest !== undefined && error instanceof DamageError
    if (!(error instanceof FsError) || (file.rootHash === undefined && !isByDigest)) throw error
    if (given && error.code === 'EIO' && !(error instanceof DamageError)) throw error
    return { label: file.label, state: 'failed', bytes: 0, message: error.message }
  }
}

/** The verdict on an index, and on the archive that it is about. */
async function withBlob(
  verdict: LayerVerdict,
  blob: ImageFile | undefined,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<LayerVerdict> {
  if (blob === undefined) return verdict
  const { bytes, message } = await verifyBlob(blob, signal, onBytes)
  const all = { ...verdict, bytes: verdict.bytes + bytes }
  return message === undefined || verdict.state === 'failed' ? all : { ...all, state: 'failed', message }
}

function sizeOfFile({ path, length }: ImageFile): number {
  return length ?? statSync(systemPath(path)).size
}

function coveredBytes(spec: ImageSpec): number {
  if (isHashed(spec)) return spec.source.size + bytesOfBlobs(spec)
  const table = verityOf(spec)
  return table === undefined ? 0 : table.dataBlocks * table.dataBlockSize
}

async function verifyImage(
  spec: ImageSpec,
  source: NamedSource,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<LayerVerdict> {
  const { label } = spec
  const verity = verityOf(spec)
  signal?.throwIfAborted()
  if (isHashed(spec)) return await verifyBlobs(spec, source, signal, onBytes)
  if (verity === undefined) return { label, state: 'unverified', bytes: 0 }
  const ranges = splitBlocks(verity, availableParallelism())
  const { dataBlockSize } = verity
  const stop = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  const end = (): void => void Atomics.store(stop, 0, 1)
  let failure: { readonly error: unknown } | undefined
  function onBlocks(blocks: number): void {
    try {
      onBytes(blocks * dataBlockSize)
    } catch (error) {
      failure ??= { error }
      end()
    }
  }
  const scans = ranges.map((range) => {
    const workerData: ScanData = { spec, ...range, stop }
    return scan(new Worker(entryUrl('scan'), { workerData }), onBlocks)
  })
  signal?.addEventListener('abort', end)
  // All of them read a descriptor that is closed after this.
  await Promise.allSettled(scans)
  signal?.removeEventListener('abort', end)
  signal?.throwIfAborted()
  if (failure !== undefined) throw failure.error
  const report = mergeReports(await Promise.all(scans))
  const bytes = coveredBytes(spec)
  if (report.badBlocks === 0) return { label, state: 'verified', bytes }
  const damaged = damagedRanges(report, verity.dataBlockSize)
  return {
    label,
    state: 'failed',
    bytes,
    badBlocks: report.badBlocks,
    message: `${report.badBlocks} of ${verity.dataBlocks} blocks do not match the root hash`,
    blocks: report.failures.map(({ position, expected, actual }) => ({ position, expected, actual })),
    damage: nameDamage(spec, damaged),
  }
}

function damagedRanges(report: ScanReport, blockSize: number): DamagedRange[] {
  const data = report.failures.filter((failure) => failure.level === undefined)
  return [...data, ...report.unreadable].map(({ position }) => ({
    start: position,
    end: position + blockSize,
  }))
}

/** Settles when the thread has ended: until then it has descriptors. */
function scan(worker: Worker, onBlocks: (blocks: number) => void): Promise<ScanReport> {
  return new Promise((resolve, reject) => {
    let report: ScanReport | undefined
    let failure: unknown
    worker.on('message', (message: ScanMessage) => {
      if (message.type === 'report') report = message.report
      else onBlocks(message.blocks)
    })
    worker.on('error', (error) => {
      failure = error
    })
    worker.on('exit', (code) => {
      if (report !== undefined && failure === undefined) resolve(report)
      else reject(failure ?? new Error(`verification thread ended with exit code ${code}`))
    })
  })
}
