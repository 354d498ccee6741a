import { createHash } from 'node:crypto'

/** One object of a SIF that a test makes. Numbers as the format has them; what is absent is usual. */
export interface SifPart {
  readonly type: number
  readonly data?: Uint8Array
  readonly id?: number
  /** 1 if absent; 0: none. */
  readonly group?: number
  /** Of an object; with `linksGroup` of a group. */
  readonly link?: number
  readonly linksGroup?: boolean
  readonly name?: string
  /** File system, use and machine of a partition: `[1, 2, '02']`. */
  readonly partition?: readonly [fileSystem: number, part: number, architecture: string]
  readonly extra?: Uint8Array
  /** In the place of those of the data. */
  readonly offset?: number | bigint
  readonly size?: number | bigint
  readonly used?: boolean
}

export interface SifShape {
  readonly parts: readonly SifPart[]
  readonly launch?: string
  readonly version?: string
  readonly architecture?: string
  readonly free?: number
  readonly total?: number
  readonly tableOffset?: number
}

const RECORD = 585
const MOST_MADE = 1000
const GROUP = 0xf000_0000

export const SIF_TYPE = {
  definition: 0x4001,
  partition: 0x4004,
  signature: 0x4005,
  json: 0x4006,
  crypto: 0x4008,
  rootIndex: 0x400a,
  blob: 0x400b,
} as const

/** Builds a SIF file (`sif.go` of apptainer/sif): tables at 4096, partitions at multiples of 4096. */
export function makeSif(shape: SifShape): Buffer {
  const { parts, total = 48, tableOffset = 4096 } = shape
  const pieces: Buffer[] = []
  let end = tableOffset + total * RECORD
  // A total that no file has is for readers to refuse.
  const table = Buffer.alloc((total <= MOST_MADE ? total : Math.max(parts.length, 48)) * RECORD)
  parts.forEach((part, slot) => {
    const { data = new Uint8Array(0) } = part
    const start = part.partition === undefined ? end : Math.ceil(end / 4096) * 4096
    pieces.push(Buffer.alloc(start - end), Buffer.from(data))
    end = start + data.length
    if (slot < total) record(part, slot, start).copy(table, slot * RECORD)
  })
  const free = shape.free ?? total - parts.filter(({ used = true }) => used).length
  const start = Buffer.alloc(tableOffset)
  head({ ...shape, free, total, tableOffset }).copy(start)
  return Buffer.concat([start, table, ...pieces])
}

function head({
  launch = '',
  version = '01',
  architecture = '00',
  free = 0,
  total = 48,
  tableOffset = 4096,
}: Omit<SifShape, 'parts'>): Buffer {
  const bytes = Buffer.alloc(128)
  bytes.write(launch, 0, 'latin1')
  bytes.write('SIF_MAGIC', 32, 'latin1')
  bytes.write(version, 42, 'latin1')
  bytes.write(architecture, 45, 'latin1')
  Buffer.from('0123456789abcdef0123456789abcdef', 'hex').copy(bytes, 48)
  bytes.writeBigInt64LE(1_700_000_000n, 64)
  bytes.writeBigInt64LE(-62_135_596_800n, 72)
  bytes.writeBigInt64LE(BigInt(free), 80)
  bytes.writeBigInt64LE(BigInt(total), 88)
  bytes.writeBigInt64LE(BigInt(tableOffset), 96)
  bytes.writeBigInt64LE(BigInt(total * RECORD), 104)
  return bytes
}

function record(part: SifPart, slot: number, start: number): Buffer {
  const { type, data = new Uint8Array(0), id = slot + 1, group = 1, link = 0, linksGroup = false } = part
  const bytes = Buffer.alloc(RECORD)
  bytes.writeInt32LE(type, 0)
  bytes[4] = part.used === false ? 0 : 1
  bytes.writeUInt32LE(id, 5)
  bytes.writeUInt32LE((GROUP | group) >>> 0, 9)
  bytes.writeUInt32LE(linksGroup ? (GROUP | link) >>> 0 : link, 13)
  bytes.writeBigInt64LE(BigInt(part.offset ?? start), 17)
  bytes.writeBigInt64LE(BigInt(part.size ?? data.length), 25)
  bytes.writeBigInt64LE(1_700_000_000n, 41)
  bytes.write(part.name ?? '', 73)
  if (part.partition !== undefined) {
    const [fileSystem, use, architecture] = part.partition
    bytes.writeInt32LE(fileSystem, 201)
    bytes.writeInt32LE(use, 205)
    bytes.write(architecture, 209, 'latin1')
  }
  Buffer.from(part.extra ?? []).copy(bytes, 201)
  return bytes
}

/** An OCI image of layers in one SIF, the documents as objects. */
export function makeOciSif(layers: readonly { readonly data: Buffer; readonly mediaType: string }[]): Buffer {
  const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
  const blob = (data: Buffer): SifPart => ({ type: SIF_TYPE.blob, data, extra: Buffer.from(digestOf(data)) })
  const described = (data: Buffer, mediaType: string) => ({
    mediaType,
    digest: digestOf(data),
    size: data.length,
  })
  const config = json({ os: 'linux', architecture: 'amd64', config: {} })
  const manifest = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: described(config, 'application/vnd.oci.image.config.v1+json'),
    layers: layers.map(({ data, mediaType }) => described(data, mediaType)),
  })
  const signature = {
    ...described(Buffer.from('signature'), 'application/vnd.oci.image.manifest.v1+json'),
    annotations: { 'org.opencontainers.image.ref.name': '_cosign:sha256-0.sig' },
  }
  const index = json({
    schemaVersion: 2,
    manifests: [described(manifest, 'application/vnd.oci.image.manifest.v1+json'), signature],
  })
  const documents = [...layers.map(({ data }) => blob(data)), blob(config), blob(manifest)]
  const root: SifPart = { type: SIF_TYPE.rootIndex, data: index, extra: Buffer.from(digestOf(index)) }
  return makeSif({ parts: [...documents, root], total: documents.length + 9 })
}
