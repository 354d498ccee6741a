import type { DescribedEncryption } from '../../molecule/index.ts'
import { formatBytes } from './format.ts'

type Keyslot = Extract<DescribedEncryption, { readonly form: string }>['keyslots'][number]

const TITLES = { luks2: 'LUKS2', gocryptfs: 'gocryptfs' } as const

/** How an image is encrypted, and how its key is derived, a line each. */
export function encryptionLines(report: DescribedEncryption): readonly string[] {
  if ('problem' in report) return [`encrypted: ${report.problem}`]
  const { label, form, cipher, keyBits, sectorSize, keyslots, hasMessage, remark } = report
  const key = `a key of ${keyBits} bits, sectors of ${sectorSize} bytes`
  const lines = [`encrypted: ${label}: ${TITLES[form]}, ${cipher} with ${key}`]
  for (const slot of keyslots) lines.push(`  keyslot ${slot.id}: ${describe(slot)}`)
  if (hasMessage) lines.push('  its key is in a message for an RSA key (PEM)')
  if (remark !== undefined) lines.push(`  ${remark}`)
  return lines
}

function describe({ kdf, memory, time, lanes, iterations, hash }: Keyslot): string {
  const parts = [
    memory === undefined ? [] : [`${formatBytes(memory)} of memory`],
    time === undefined ? [] : [`time ${time}`],
    lanes === undefined ? [] : [`${lanes} lanes`],
    hash === undefined ? [] : [hash],
    iterations === undefined ? [] : [`${iterations} iterations`],
  ].flat()
  return `${kdf} (${parts.join(', ')})`
}
