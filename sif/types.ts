import { printable } from '../src/base/index.ts'

/** What an object of a SIF is (`sif.go`, "DataType"). */
export const TYPE = {
  definition: 0x4001,
  environment: 0x4002,
  labels: 0x4003,
  partition: 0x4004,
  signature: 0x4005,
  json: 0x4006,
  generic: 0x4007,
  crypto: 0x4008,
  sbom: 0x4009,
  rootIndex: 0x400a,
  blob: 0x400b,
} as const

/** As siftool prints them. */
const TYPE_NAMES: Readonly<Record<number, string>> = {
  [TYPE.definition]: 'Def.FILE',
  [TYPE.environment]: 'Env.Vars',
  [TYPE.labels]: 'JSON.Labels',
  [TYPE.partition]: 'FS',
  [TYPE.signature]: 'Signature',
  [TYPE.json]: 'JSON.Generic',
  [TYPE.generic]: 'Generic/Raw',
  [TYPE.crypto]: 'Cryptographic Message',
  [TYPE.sbom]: 'SBOM',
  [TYPE.rootIndex]: 'OCI.RootIndex',
  [TYPE.blob]: 'OCI.Blob',
}

/** File systems of partitions; the last one is known to Apptainer alone. */
export const FILE_SYSTEM = { squashfs: 1, ext3: 2, archive: 3, raw: 4, luks: 5, gocryptfs: 6 } as const

const FILE_SYSTEM_NAMES: Readonly<Record<number, string>> = {
  1: 'Squashfs',
  2: 'Ext3',
  3: 'Archive',
  4: 'Raw',
  5: 'Encrypted squashfs',
  6: 'Gocryptfs squashfs',
}

/** What a partition is for. A file has one primary partition at most: that of the container. */
export const PART = { system: 1, primary: 2, data: 3, overlay: 4 } as const

const PART_NAMES: Readonly<Record<number, string>> = { 1: 'System', 2: '*System', 3: 'Data', 4: 'Overlay' }

/** Two digits in the file, and the name that Go has for the machine. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  '01': '386',
  '02': 'amd64',
  '03': 'arm',
  '04': 'arm64',
  '05': 'ppc64',
  '06': 'ppc64le',
  '07': 'mips',
  '08': 'mipsle',
  '09': 'mips64',
  '10': 'mips64le',
  '11': 's390x',
  '12': 'riscv64',
  '13': 'loong64',
}

const HASH_NAMES: Readonly<Record<number, string>> = {
  1: 'SHA-256',
  2: 'SHA-384',
  3: 'SHA-512',
  4: 'BLAKE2s-256',
  5: 'BLAKE2b-256',
}

const SBOM_NAMES: Readonly<Record<number, string>> = {
  1: 'cyclonedx-json',
  2: 'cyclonedx-xml',
  3: 'github-json',
  4: 'spdx-json',
  5: 'spdx-rdf',
  6: 'spdx-tag-value',
  7: 'spdx-yaml',
  8: 'syft-json',
}

/** A cryptographic message that holds the key of an encrypted partition. */
export const CRYPTO_PEM = 2
export const CRYPTO_RSA_OAEP = 0x200

const CRYPTO_FORMATS: Readonly<Record<number, string>> = { 1: 'OpenPGP', [CRYPTO_PEM]: 'PEM' }
const CRYPTO_MESSAGES: Readonly<Record<number, string>> = {
  256: 'Clear Signature',
  [CRYPTO_RSA_OAEP]: 'RSA-OAEP',
}

const UNKNOWN = 'Unknown'

function nameIn(names: Readonly<Record<number, string>>): (number: number) => string {
  return (number) => names[number] ?? UNKNOWN
}

export const typeName = nameIn(TYPE_NAMES)
export const fileSystemName = nameIn(FILE_SYSTEM_NAMES)
export const partName = nameIn(PART_NAMES)
export const hashName = nameIn(HASH_NAMES)
export const sbomName = nameIn(SBOM_NAMES)
export const cryptoFormatName = nameIn(CRYPTO_FORMATS)
export const cryptoMessageName = nameIn(CRYPTO_MESSAGES)

/** @param code three bytes: two digits and a NUL. @returns `unknown` for all that no machine has */
export function architectureName(code: Uint8Array): string {
  const digits = Buffer.from(code.subarray(0, 2)).toString('latin1')
  return (code[2] === 0 ? ARCHITECTURES[digits] : undefined) ?? 'unknown'
}

/** Text that a file gives, in a message: quoted, printable, and not longer than a line. */
export function quoted(text: string): string {
  const shown = printable(text.replace(/["\\]/g, '\\$&'))
  return `"${shown.length > 120 ? `${shown.slice(0, 120)}…` : shown}"`
}
