/** What people take for an image, by the text that it begins with. */
const TEXTS: readonly (readonly [start: RegExp, what: string])[] = [
  [
    /^\s*<(!doctype\s+html|html|head)\b/i,
    'an HTML page, as servers send it in the place of a file: download the image again',
  ],
  [/^\s*<\?xml\b/i, 'an XML document'],
  [/^\s*[{[]\s*"/, 'a JSON document, as registries send it in the place of a file'],
  [/^version https:\/\/git-lfs\.github\.com\//, 'a pointer of Git LFS: fetch the file with git lfs pull'],
  [/^#!/, 'a script'],
]

/** The same, by bytes at a position. */
const MAGICS: readonly (readonly [position: number, hex: string, what: string])[] = [
  [257, '7573746172', 'a tar archive: atomfs-fuse convert makes an image of it'],
  [0, '1f8b', 'compressed with gzip: atomfs-fuse convert takes archives, gunzip gives other files'],
  [0, '28b52ffd', 'compressed with zstd: unzstd gives the file'],
  [0, 'fd377a585a00', 'compressed with xz: unxz gives the file'],
  [0, '425a68', 'compressed with bzip2: bunzip2 gives the file'],
  [0, '504b0304', 'a zip archive'],
  [1024, 'e2e1f5e0', 'an erofs image, which is not read'],
  [0, '453dcd28', 'a cramfs image, which is not read'],
  [0, '58465342', 'an XFS file system, which is not read'],
  [0, '514649fb', 'a disk image of QEMU (qcow2)'],
]

/** What a file is that holds no image, with what to do; undefined where nobody knows. @param head the first bytes */
export function otherFile(head: Uint8Array): string | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length)
  const text = bytes.toString('latin1')
  const found =
    TEXTS.find(([start]) => start.test(text))?.[1] ??
    MAGICS.find(([position, hex]) => bytes.toString('hex', position, position + hex.length / 2) === hex)?.[2]
  return found
}
