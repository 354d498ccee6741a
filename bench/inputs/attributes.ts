import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mksquashfs } from '../../test/library/images/images.ts'
import { setXattr } from '../../test/library/programs/native.ts'
import { run } from '../../test/library/programs/process.ts'
import type { AttributeLines, TreeFacts } from './facts.ts'

const FILES = 99
/** `struct vfs_cap_data`, version 2: cap_net_raw, permitted and effective (linux/capability.h). */
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex')

/**
 * Each prints a number of lines. getfattr fails where it cannot list the attributes of a file, as on the kernel's squashfs
 * without any.
 */
export const ATTRIBUTE_PROGRAMS: Readonly<Record<keyof AttributeLines, string>> = {
  ls: 'ls -laR | wc -l',
  getfattr: '{ getfattr -R -d -m - . 2>/dev/null || true; } | wc -l',
  getcap: 'getcap -r . | wc -l',
}

/**
 * Packs directories of small files. With attributes, half of the files have a digest of their own, a fifth a type that many
 * share, and some a capability.
 */
export async function buildAttributes(
  image: string,
  directories: number,
  withAttributes: boolean,
): Promise<TreeFacts> {
  const tree = `${image}.tree`
  rmSync(tree, { recursive: true, force: true })
  for (let d = 0; d < directories; d += 1) {
    const directory = join(tree, `directory${d}`)
    mkdirSync(directory, { recursive: true })
    for (let f = 0; f < FILES; f += 1) {
      const path = join(directory, `file${f}`)
      writeFileSync(path, `directory ${d}, file ${f}\n`.repeat(1 + (f % 7) * 20))
      if (withAttributes) addAttributes(Buffer.from(path), d, f)
    }
  }
  const lines = async (script: string): Promise<number> =>
    Number((await run('bash', ['-o', 'pipefail', '-c', script], { cwd: tree })).stdout)
  const { ls, getfattr, getcap } = ATTRIBUTE_PROGRAMS
  const attributeLines = { ls: await lines(ls), getfattr: await lines(getfattr), getcap: await lines(getcap) }
  rmSync(image, { force: true })
  const extra = withAttributes ? ['-xattrs'] : ['-no-xattrs']
  await mksquashfs(tree, image, { compressor: 'zstd', timeout: 900_000, extra })
  rmSync(tree, { recursive: true })
  // Only these programs use it.
  const entries = 1 + directories * (1 + FILES)
  return { entries, tarBytes: 0, contentBytes: 0, readerLists: [], startUps: [], attributeLines }
}

function addAttributes(path: Buffer, d: number, f: number): void {
  if (f % 2 === 0) setXattr(path, 'user.checksum', Buffer.from(`${d * FILES + f}`.padStart(40, '0')))
  if (f % 5 === 0) setXattr(path, 'user.mime_type', Buffer.from('text/plain'))
  if (f % 33 === 0) setXattr(path, 'security.capability', CAPABILITY)
}
