import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../programs/process.ts'

/**
 * Layers as Python's tarfile writes them, in its three formats. All that can be in a layer is in them: owners and times of
 * any size, attributes, devices, hard links, names of any bytes, deletions, opaque directories, changes of type.
 */
const SCRIPT = `
import io, sys, tarfile
folder = sys.argv[1]

def layer(number, format, members):
    with tarfile.open(f'{folder}/{number}.tar', 'w', format=format, encoding='utf-8', errors='surrogateescape') as tar:
        for name, type, more in members:
            info = tarfile.TarInfo(name)
            info.type = type
            info.mode = 0o755 if type == tarfile.DIRTYPE else 0o644
            info.mtime = 1_500_000_000
            content = more.pop('content', None)
            for key, value in more.items():
                setattr(info, key, value)
            if content is not None:
                info.size = len(content)
            tar.addfile(info, None if content is None else io.BytesIO(content))

D, F, L, S = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE
long = 'd' * 90 + '/' + 'e' * 120 + '/' + 'f' * 200
layer(0, tarfile.PAX_FORMAT, [
    ('./', D, dict(mode=0o1755, mtime=1_600_000_000.25)),
    ('bin', D, {}), ('bin/tool', F, dict(content=b'tool' * 9000, mode=0o4755)),
    ('bin/also', L, dict(linkname='bin/tool')), ('bin/link', S, dict(linkname='tool')),
    ('own', D, dict(uid=1, gid=2)), ('own/user', F, dict(content=b'u', uid=60_000, gid=70_000 - 5000, mode=0o640 | 4)),
    ('times', D, dict(mtime=-5.5)), ('times/new', F, dict(mtime=4_102_444_800.999999, content=b'')),
    ('times/old', F, dict(mtime=-1.25, content=b'')),
    ('d' * 90, D, {}), ('d' * 90 + '/' + 'e' * 120, D, {}), (long, F, dict(content=b'long')), ('umlaut-\\u00e4\\u2603', F, dict(content=b'x')),
    ('bytes-\\udcff\\udcfe', F, dict(content=b'y')), ('with\\nline', F, dict(content=b'z')),
    ('..wh.data', F, dict(content=b'no mark')), ('..wh.gone', F, dict(content=b'no mark')), ('a.wh.b', F, dict(content=b'no mark')),
    ('dev', D, {}), ('dev/null', tarfile.CHRTYPE, dict(devmajor=1, devminor=3, mode=0o666)),
    ('dev/disk', tarfile.BLKTYPE, dict(devmajor=259, devminor=300)), ('dev/fifo', tarfile.FIFOTYPE, dict(mode=0o622)),
    ('attributes', F, dict(content=b'', pax_headers={
        'SCHILY.xattr.user.text': 'value', 'SCHILY.xattr.user.more': 'other',
        'SCHILY.xattr.security.capability': '\\x01\\0\\0\\x02\\0\\x20\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0'})),
    ('gone', D, {}), ('gone/a', F, dict(content=b'a')), ('gone/sub', D, {}), ('gone/sub/b', F, dict(content=b'b')),
    ('opaque', D, dict(mode=0o700 | 0o55)), ('opaque/old', F, dict(content=b'old')), ('opaque/sub', D, {}), ('opaque/sub/c', F, dict(content=b'c')),
    ('to-file', D, {}), ('to-file/x', F, dict(content=b'x')), ('to-dir', F, dict(content=b'y')), ('to-link', D, {}),
    ('link-to-dir', S, dict(linkname='bin')), ('again', F, dict(content=b'first')), ('parent', D, dict(uid=7, gid=8, mode=0o2775)),
    ('parent/f', F, dict(content=b'f')), ('empty', F, dict(content=b'')), ('zeros', F, dict(content=bytes(300_000))),
])
layer(1, tarfile.GNU_FORMAT, [
    ('.wh.gone', F, dict(content=b'')), ('.wh...wh.gone', F, dict(content=b'')), ('opaque/new', F, dict(content=b'new')), ('opaque/.wh..wh..opq', F, dict(content=b'')),
    ('to-file', F, dict(content=b'now a file')), ('to-dir', D, dict(mode=0o751 | 4)), ('to-dir/y', F, dict(content=b'inside')),
    ('to-link', S, dict(linkname='bin')), ('link-to-dir', D, {}), ('link-to-dir/in', F, dict(content=b'in')),
    ('.wh.again', F, dict(content=b'')), ('parent/g', F, dict(content=b'g')), ('parent/.wh.f', L, dict(linkname='nowhere')),
    ('own/large', F, dict(content=b'l', uid=3_000, gid=65_000)), ('own/far', F, dict(content=b'f', mtime=8_204_889_600)),
    ('g' * 150, F, dict(content=b'gnu')), ('g-link', S, dict(linkname='h' * 200)), ('g-hard', L, dict(linkname='g' * 150)),
    ('dev/.wh.disk', F, dict(content=b'')), ('.wh..wh.plnk', D, {}),
])
layer(2, tarfile.USTAR_FORMAT, [
    ('again', F, dict(content=b'third')), ('gone', D, dict(mode=0o750 | 5)), ('gone/c', F, dict(content=b'c')),
    ('opaque/sub', D, {}), ('opaque/sub/d', F, dict(content=b'd')), ('bin', D, dict(mode=0o2755)), ('bin/.wh.also', F, dict(content=b'')),
    ('p' * 60, D, {}), ('p' * 60 + '/' + 'q' * 80, F, dict(content=b'ustar')),
])
`

/** @returns archives, bottom first */
export async function pythonLayers(folder: string): Promise<Buffer[]> {
  await run('python3', ['-c', SCRIPT, folder])
  return [0, 1, 2].map((number) => readFileSync(join(folder, `${number}.tar`)))
}
