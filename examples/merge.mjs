// Shows what a merge of directories has in its root, the topmost directory last: node examples/merge.mjs LOWER UPPER
import { HostDirectoryLayer, MergedTree } from 'atomfs-fuse/overlay'

/** The number of the root, as in the protocol of FUSE. */
const ROOT = 1

const layers = process.argv.slice(2).map((path) => new HostDirectoryLayer(path))
try {
  const tree = new MergedTree(layers)
  tree.readdir(ROOT, 0, {
    plus: false,
    add: (name) => {
      // Names are one character for each byte.
      if (name !== '.' && name !== '..') console.log(Buffer.from(name, 'latin1').toString())
      return true
    },
  })
} finally {
  for (const layer of layers) layer.close()
}
