import { createHash } from 'node:crypto'

/** Name of the image kind whose images are indexes. */
export const INDEXED = 'tar'

/** The image kinds of what is made of layers, by the ends of file names. */
const KINDS = { idx: INDEXED, squashfs: 'squashfs' } as const

/** The name of a file that was made of a layer. */
export interface StoredName {
  /** Of the digest that it is named by: `sha256` or `sha512`. */
  readonly algorithm: string
  readonly name: string
  /** Name of the image kind that reads it. */
  readonly kind: 'tar' | 'squashfs'
}

/** What the name of such a file says. */
export interface NameParts {
  readonly hex: string
  /** Over which layers it was made; absent where it does not depend on them. */
  readonly chain?: string
  readonly kind: StoredName['kind']
}

const NAME = /^([0-9a-f]{64}|[0-9a-f]{128})(?:-([0-9a-f]{64}))?\.(idx|squashfs)$/

/** @returns undefined for a name that is of no such file */
export function readName(name: string): NameParts | undefined {
  const [, hex, chain, end] = NAME.exec(name) ?? []
  if (hex === undefined || (end !== 'idx' && end !== 'squashfs')) return undefined
  return { hex, kind: KINDS[end], ...(chain !== undefined && { chain }) }
}

/**
 * The index of a blob.
 * @param digest of the blob, `algorithm:hex`
 * @param below digests of the layers below it, bottom first, where the index depends on them
 */
export function indexName(digest: string, below?: readonly string[]): StoredName {
  return named(digest, 'idx', below)
}

/** The image that a layer was converted to. @param digest of its archive without compression, else of the blob */
export function imageName(digest: string, below?: readonly string[]): StoredName {
  return named(digest, 'squashfs', below)
}

function named(digest: string, end: 'idx' | 'squashfs', below: readonly string[] | undefined): StoredName {
  const [algorithm = '', hex = ''] = digest.split(':')
  const chain = below === undefined ? '' : `-${chainOf(below)}`
  return { algorithm, name: `${hex}${chain}.${end}`, kind: KINDS[end] }
}

function chainOf(below: readonly string[]): string {
  return createHash('sha256').update(below.join('\n')).digest('hex')
}
