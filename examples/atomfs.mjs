// Mounts an image as atomfs does, and shows by the names of atomfs where its runtime data are. They lie in METADIR:
// node examples/atomfs.mjs OCIDIR TAG TARGET METADIR
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import {
  buildMoleculeFromOci,
  ensureDir,
  getMountNamespaceName,
  mountStatus,
  OVERLAY_MOUNT_OPTIONS,
  pathExists,
  replacePathSeparators,
  runtimeDir,
  umountWithMetadir,
  writeToFile,
} from 'atomfs-fuse'

const [ociDir = '', tag = '', target = '', metadataDir = ''] = process.argv.slice(2)
const options = { ociDir, tag, target, metadataDir }

for (const folder of [target, metadataDir]) ensureDir(folder)
writeToFile(options, join(metadataDir, 'wanted.json'))

const molecule = buildMoleculeFromOci(options)
await molecule.mount()
try {
  const place = molecule.metadataPath()
  console.log(
    `below ${runtimeDir(metadataDir)}, in the namespace ${getMountNamespaceName()}: ${basename(place)}`,
  )
  console.log(`the name of the target: ${replacePathSeparators(target)}`)
  console.log(`config.json: ${readFileSync(join(place, 'config.json'), 'utf8')}`)
  console.log(`layers mounted one by one: ${pathExists(molecule.mountedAtomsPath())}`)
  console.log(`always so: ${OVERLAY_MOUNT_OPTIONS}`)
  for (const { label, state } of (await mountStatus(target, metadataDir)).layers)
    console.log(`${state} ${label}`)
} finally {
  await umountWithMetadir(target, metadataDir)
}
