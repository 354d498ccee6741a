import { copyFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { unmount } from '../programs/mounts.ts'
import { run } from '../programs/process.ts'

/**
 * Encrypts a folder, or an image as the file `squashfs-123`, with names in clear.
 * @param folder for what the program needs
 * @returns the path of the encrypted folder
 */
export async function gocryptfsFolder(source: string, folder: string, password: string): Promise<string> {
  const [cipher, shown] = [join(folder, 'cipher'), join(folder, 'plain')]
  const passfile = join(folder, 'pass')
  for (const path of [folder, cipher, shown]) mkdirSync(path, { recursive: true })
  writeFileSync(passfile, `${password}\n`)
  const words = ['-q', '-passfile', passfile]
  // A small cost: what deriving a key takes is not what is tested.
  const form = ['-init', '-scryptn', '10', '-deterministic-names', '-plaintextnames']
  await run('gocryptfs', [...form, ...words, cipher])
  await run('gocryptfs', [...words, cipher, shown])
  try {
    if (statSync(source).isFile()) copyFileSync(source, join(shown, 'squashfs-123'))
    else await run('cp', ['-a', `${source}/.`, shown])
  } finally {
    await unmount(shown)
  }
  return cipher
}

/**
 * Encrypts an image as Apptainer does without root: a squashfs image around `gocryptfs.conf` and the encrypted image.
 * @param folder an empty folder, for what the program needs
 * @returns the path of the outer image
 */
export async function encryptByGocryptfs(plain: string, folder: string, password: string): Promise<string> {
  const cipher = await gocryptfsFolder(plain, folder, password)
  const outer = join(folder, 'outer.sqfs')
  await run('mksquashfs', [cipher, outer, '-noD', '-noF', '-noappend', '-quiet', '-no-progress'])
  return outer
}
