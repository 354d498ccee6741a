import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { unmount } from '../programs/mounts.ts'
import { run } from '../programs/process.ts'

/**
 * Encrypts an image as Apptainer does without root: a squashfs image around `gocryptfs.conf` and the encrypted image,
 * whose names are in clear.
 * @param folder an empty folder, for what the program needs
 * @returns the path of the outer image
 */
export async function encryptByGocryptfs(plain: string, folder: string, password: string): Promise<string> {
  const [cipher, shown] = [join(folder, 'cipher'), join(folder, 'plain')]
  const passfile = join(folder, 'pass')
  for (const path of [folder, cipher, shown]) mkdirSync(path, { recursive: true })
  writeFileSync(passfile, `${password}\n`)
  const words = ['-q', '-passfile', passfile]
  // A small cost: what deriving a key takes is not what is tested.
  await run('gocryptfs', [
    '-init',
    '-scryptn',
    '10',
    '-deterministic-names',
    '-plaintextnames',
    ...words,
    cipher,
  ])
  await run('gocryptfs', [...words, cipher, shown])
  try {
    copyFileSync(plain, join(shown, 'squashfs-123'))
  } finally {
    await unmount(shown)
  }
  const outer = join(folder, 'outer.sqfs')
  await run('mksquashfs', [cipher, outer, '-noD', '-noF', '-noappend', '-quiet', '-no-progress'])
  return outer
}
