import { existsSync, statSync } from 'node:fs'
import { FsError, isErrno, messageOf, type PathText, systemPath } from '../../base/index.ts'
import { askStatus, isMount } from '../../daemon/client/control-client.ts'
import type { LayerState } from '../../drivers/index.ts'
import type { LayerVerdict, VerifyReport } from '../../molecule/index.ts'
import { parseOffset, parseRootHash } from '../../request/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { describeChunks, describeCompressor } from '../print/chunks.ts'
import { formatBytes, formatLines } from '../print/format.ts'
import { print } from '../print/output.ts'
import { startProgress } from '../print/progress.ts'

export interface VerifyFlags {
  readonly json?: boolean
  readonly metadir?: string
  readonly rootHash?: string
  readonly offset?: string
  readonly key?: readonly string[]
  readonly keyring?: string
  readonly legacy?: boolean
}

/** What the states are called here: the words of `atomfs verify`. */
const VERDICTS: Readonly<Record<LayerState, string>> = {
  verified: 'OK',
  failed: 'CORRUPTION FOUND',
  unverified: 'not verified (no root hash)',
}

/**
 * Runs `verify`. A directory is a TARGET, whose daemon reports what it has found so far; an image layout that is
 * not a mount of this program, and anything else, is a SOURCE, which is read as a whole.
 * @returns 1 on any corruption, or where no layer could be verified
 */
export async function verify(what: string, flags: VerifyFlags): Promise<number> {
  return isTarget(what) ? await verifyTarget(what, flags) : await verifyImage(what, flags)
}

function isTarget(what: PathText): boolean {
  try {
    return isMount(absolutePath(what)) || isPlainDirectory(what)
  } catch {
    return false
  }
}

function isPlainDirectory(what: PathText): boolean {
  return statSync(systemPath(what)).isDirectory() && !existsSync(systemPath(`${what}/oci-layout`))
}

function exitCode(states: readonly LayerState[]): number {
  return states.includes('failed') || !states.includes('verified') ? 1 : 0
}

async function verifyTarget(target: string, flags: VerifyFlags): Promise<number> {
  const { layers } = await askStatus(
    absolutePath(target),
    flags.metadir === undefined ? undefined : absolutePath(flags.metadir),
  ).catch((error: unknown) => {
    if (!isErrno(error, 'EINVAL')) throw error
    throw new FsError('EINVAL', `${messageOf(error)}, and a directory has nothing to verify against`)
  })
  if (flags.json === true) await print(`${JSON.stringify(layers, undefined, 2)}\n`)
  else await print(formatLines(layers.map(({ label, state }) => `${label}: ${VERDICTS[state]}`)))
  return exitCode(layers.map((layer) => layer.state))
}

async function verifyImage(source: string, flags: VerifyFlags): Promise<number> {
  const { verifySource } = await import('../../molecule/index.ts')
  const progress = await startProgress('verifying', flags.json === true)
  let report: VerifyReport
  try {
    report = await verifySource(
      {
        source,
        options: flags.offset === undefined ? {} : { offset: parseOffset(flags.offset) },
        signers: { keys: flags.key, keyring: flags.keyring, legacy: flags.legacy },
        ...(flags.rootHash === undefined ? {} : { rootHash: parseRootHash(flags.rootHash) }),
      },
      progress.update,
    )
  } finally {
    progress.stop()
  }
  await print(flags.json === true ? `${JSON.stringify(report, undefined, 2)}\n` : formatVerdicts(report))
  return report.signatures === undefined
    ? exitCode(report.layers.map((layer) => layer.state))
    : signedExitCode(report.layers, report.signatures)
}

/** The digests match, and nobody checked who signed. */
const UNCHECKED = 3

function signedExitCode(
  layers: readonly LayerVerdict[],
  signatures: VerifyReport['signatures'] = [],
): number {
  if (signatures.some(({ state }) => state === 'failed') || layers.length === 0) return 1
  if (layers.some(({ state, digestsMatch }) => state !== 'verified' && digestsMatch !== true)) return 1
  return layers.every(({ state }) => state === 'verified') ? 0 : UNCHECKED
}

/**
 * What `verify` prints without `--json`: a verdict for each layer and signature, then how much was compared.
 */
export function formatVerdicts(report: VerifyReport): string {
  const lines = report.layers.flatMap(verdictLines)
  for (const signature of report.signatures ?? []) lines.push(signatureLine(signature))
  if (report.signatures?.length === 0) lines.push('no signatures')
  if (report.bytes > 0) {
    const rate = report.bytes / 1e6 / Math.max(report.seconds, 0.001)
    lines.push(
      `${formatBytes(report.bytes)} compared in ${report.seconds.toFixed(2)} s (${rate.toFixed(0)} MB/s)`,
    )
  }
  return formatLines(lines)
}

const SIGNATURES: Readonly<Record<Signature['state'], string>> = {
  verified: 'OK',
  unchecked: 'not checked',
  failed: 'NOT VALID',
  ignored: 'ignored',
}

type Signature = NonNullable<VerifyReport['signatures']>[number]

function signatureLine({ id, form, state, signer, reason, objects }: Signature): string {
  const covers = objects.length === 0 ? 'nothing' : `objects ${objects.join(', ')}`
  const why = signer ?? reason
  return `signature ${id}${form === undefined ? '' : ` (${form})`} of ${covers}: ${SIGNATURES[state]}${why === undefined ? '' : `: ${why}`}`
}

/** Objects of a file with signatures have no root hash; their message says why they are not verified. */
function verdictOf({ digestsMatch, state, message }: LayerVerdict): string {
  if (digestsMatch === true) return 'digests match, signer not checked'
  return state === 'unverified' && message !== undefined ? 'not verified' : VERDICTS[state]
}

function verdictLines(layer: LayerVerdict): readonly string[] {
  const verdict = verdictOf(layer)
  const lines = [`${layer.label}: ${verdict}`]
  if (layer.message !== undefined) lines.push(`  ${layer.message}`)
  if (layer.stored !== undefined)
    lines.push(`  ${describeChunks(layer.stored)}, ${describeCompressor(layer.compressor)}`)
  for (const { position, expected, actual } of layer.blocks ?? []) {
    lines.push(`  block at byte ${position}: expected ${expected} got ${actual}`)
  }
  for (const remark of layer.remarks ?? []) lines.push(`  ${remark}`)
  const { damage } = layer
  if (damage === undefined) return lines
  for (const structure of damage.structures) lines.push(`  damaged: ${structure}`)
  for (const file of damage.files) lines.push(`  damaged file: ${file}`)
  if (damage.truncated) lines.push('  … and more files')
  if (damage.unreadable > 0) lines.push(`  ${damage.unreadable} files or directories cannot be looked at`)
  return lines
}
