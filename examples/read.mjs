// Lists a squashfs image, or prints one of its files, without a mount: node examples/read.mjs IMAGE [FILE]
import { pipeline } from 'node:stream/promises'
import { openSquashfs } from 'atomfs-fuse/squashfs'

const [path = '', file] = process.argv.slice(2)
const image = openSquashfs(path)
try {
  if (file === undefined) {
    for await (const { path, type, stat } of image.entries('/')) {
      const target = type === 'symlink' ? ` -> ${image.readlink(path)}` : ''
      console.log(`${(stat.mode & 0o7777).toString(8).padStart(4, '0')} ${stat.size} ${path}${target}`)
    }
  } else {
    await pipeline(image.readStream(file, { follow: true }), process.stdout, { end: false })
  }
} finally {
  image.close()
}
