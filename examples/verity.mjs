// Appends a hash tree to a copy of a squashfs image that has none, and reads the copy verified:
// node examples/verity.mjs IMAGE COPY
import { copyFileSync } from 'node:fs'
import { inspectSource, verifySource } from 'atomfs-fuse'
import { openSquashfs } from 'atomfs-fuse/squashfs'
import { appendVerityData } from 'atomfs-fuse/verity'

const [image = '', copy = ''] = process.argv.slice(2)
copyFileSync(image, copy)
const [layer] = inspectSource(copy).layers
const { rootHash } = appendVerityData(copy, { dataLength: layer?.bytesUsed ?? 0 })
console.log(`root hash ${rootHash}`)

const verified = openSquashfs(copy, { rootHash })
console.log(
  `root directory: ${verified
    .readdir('/')
    .map(({ name }) => name)
    .join(' ')}`,
)
verified.close()

const { layers } = await verifySource({ source: copy, rootHash, options: {} })
for (const { state, bytes } of layers) console.log(`${state}: ${bytes} bytes`)
