import { S_IFDIR, S_IFLNK, S_IFREG } from '../../src/base/index.ts'

/** A file of an archive whose content is another blob of the layout. */
export interface ToyBlob {
  readonly digest: string
  readonly size: number
}

/**
 * What a test puts into a cpio archive: a directory (undefined), the content of a file or the blob that has it, or where a
 * symlink leads.
 */
export type ToyTree = Readonly<Record<string, Uint8Array | { readonly link: string } | ToyBlob | undefined>>

/** Set on a file whose content is another blob: the archive has its digest and its size. */
export const STICKY = 0o1000

/** A cpio archive in the `newc` format (cpio(5)). Parents come before their children. */
export function toyArchive(tree: ToyTree): Buffer {
  const all: ToyTree = { '.': undefined, ...tree }
  const entries = Object.entries(all).map(([path, content], i) => {
    if (content === undefined) return member(path, i + 1, S_IFDIR | 0o755, Buffer.alloc(0))
    if ('link' in content) return member(path, i + 1, S_IFLNK | 0o777, Buffer.from(content.link))
    if ('digest' in content) {
      return member(path, i + 1, S_IFREG | STICKY | 0o644, Buffer.from(`${content.digest} ${content.size}`))
    }
    return member(path, i + 1, S_IFREG | 0o644, content)
  })
  return Buffer.concat([...entries, member('TRAILER!!!', 0, 0, Buffer.alloc(0))])
}

function member(path: string, ino: number, mode: number, content: Uint8Array): Buffer {
  const name = Buffer.from(`${path}\0`, 'latin1')
  const fields = [ino, mode, 0, 0, 1, 1_700_000_000, content.length, 0, 0, 0, 0, name.length, 0]
  const header = Buffer.from(`070701${fields.map((one) => one.toString(16).padStart(8, '0')).join('')}`)
  const padded = (length: number): Buffer => Buffer.alloc(-length & 3)
  const head = Buffer.concat([header, name])
  return Buffer.concat([head, padded(head.length), content, padded(content.length)])
}
