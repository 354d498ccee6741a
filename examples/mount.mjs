// Mounts an image of a layout, lists its root, and unmounts it: node examples/mount.mjs OCIDIR TAG TARGET
import { readdirSync } from 'node:fs'
import { atomsPath, buildMoleculeFromOci, ensureDir, FsError } from 'atomfs-fuse'

const [ociDir = '', tag = '', target = ''] = process.argv.slice(2)
const options = { ociDir, tag, target }

try {
  const molecule = buildMoleculeFromOci(options)
  for (const { digest, size } of molecule.atoms) {
    console.log(`layer ${atomsPath(options, digest.replace('sha256:', ''))}, ${size} bytes`)
  }
  ensureDir(target)
  for (const warning of await molecule.mount()) console.warn(warning)
  try {
    console.log(`mounted: ${readdirSync(target).join(' ')}`)
  } finally {
    await molecule.umount()
  }
} catch (error) {
  if (!(error instanceof FsError)) throw error
  console.error(`${error.code}: ${error.message}`)
  process.exitCode = 1
}
