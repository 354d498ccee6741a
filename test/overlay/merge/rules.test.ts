import { describe, expect, test } from 'vitest'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import { adapted } from '../../../overlay/stored/adapted-layer.ts'
import { NO_MARKS, ROOT_NODE_ID } from '../../../src/base/index.ts'
import { names, paths } from '../support/list.ts'
import { layer } from '../support/memory-layer.ts'

interface Rule {
  /** The rule, as a sentence. */
  readonly rule: string
  readonly source: string
  /** Top first, as one would say it. */
  readonly layers: readonly string[]
  /** All paths of the merge; `^` at a merged directory. */
  readonly shows: readonly string[]
}

const RST = 'overlayfs.rst'
const OCI = 'image-spec layer.md'

const RULES: readonly Rule[] = [
  {
    rule: 'names of all layers come together, each in the topmost version',
    source: `${RST}, Upper and Lower`,
    layers: ['b\nc', 'a\nb', 'c\nd'],
    shows: ['a', 'b', 'c', 'd'],
  },
  {
    rule: 'directories of several layers merge, those of one do not',
    source: `${RST}, Directories`,
    layers: ['d/x\nonly/u', 'd/y'],
    shows: ['d/^', 'd/x', 'd/y', 'only/', 'only/u'],
  },
  {
    rule: 'a character device 0:0 deletes the name and all below it',
    source: `${RST}, whiteouts and opaque directories`,
    layers: ['d c 0 0\nf c 0 0', 'd/x\nf\ng'],
    shows: ['g'],
  },
  {
    rule: 'other devices are devices',
    source: 'include/linux/fs.h, IS_WHITEOUT',
    layers: ['n c 0 1\nb b 0 0\nz c 1 3', 'n\nb\nz'],
    shows: ['b', 'n', 'z'],
  },
  {
    rule: 'a whiteout is hidden in the lowest layer',
    source: `${RST}, whiteouts and opaque directories`,
    layers: ['a', 'd/w c 0 0\nw c 0 0\n.wh.q\n.wh..wh..opq'],
    shows: ['a', 'd/'],
  },
  {
    rule: 'a whiteout is hidden in a directory of one layer',
    source: 'fuse-overlayfs#306',
    layers: ['d/w c 0 0\nd/.wh.v\nd/.wh..wh..opq\nd/f', 'e'],
    shows: ['d/', 'd/f', 'e'],
  },
  {
    rule: 'a deleted name that comes again above is a fresh one',
    source: 'fs/overlayfs/namei.c:ovl_lookup',
    layers: ['d/new', 'd c 0 0', 'd/old'],
    shows: ['d/', 'd/new'],
  },
  {
    rule: 'a .wh. file deletes the name in the layers below',
    source: `${OCI}, Whiteouts`,
    layers: ['.wh.a\nd/.wh.b', 'a\nc\nd/b\nd/e'],
    shows: ['c', 'd/^', 'd/e'],
  },
  {
    rule: 'a .wh. file does not delete the name in its own layer',
    source: `${OCI}, Whiteouts: they apply to lower layers only`,
    layers: ['.wh.a\na', 'a', '.wh.a'],
    shows: ['a'],
  },
  {
    rule: 'nor where another layer lies above it',
    source: `${OCI}, Whiteouts: they apply to lower layers only`,
    layers: ['x\nd/1', '.wh.a\na\n.wh.d\nd/2', 'a\nd/3'],
    shows: ['a', 'd/^', 'd/1', 'd/2', 'x'],
  },
  {
    rule: 'a .wh. file beside a directory of the name cuts that off from below',
    source: `${OCI}, Whiteouts`,
    layers: ['.wh.d\nd/new', 'd/old'],
    shows: ['d/', 'd/new'],
  },
  {
    rule: 'a .wh. file in a layer that has not the name acts between others',
    source: `${OCI}, Whiteouts`,
    layers: ['d/top', '.wh.d', 'd/low'],
    shows: ['d/', 'd/top'],
  },
  {
    rule: 'a .wh. file of a layer reaches over layers without the directory',
    source: `${OCI}, Whiteouts`,
    layers: ['d/.wh.f', 'x', 'd/f\nd/g'],
    shows: ['d/^', 'd/g', 'x'],
  },
  {
    rule: '.wh..wh..opq hides everything below, whatever stands beside it',
    source: `${OCI}, Opaque Whiteout`,
    layers: ['d/.wh..wh..opq\nd/-first\nd/z', 'd/old\nd/z'],
    shows: ['d/', 'd/-first', 'd/z'],
  },
  {
    rule: '.wh..wh..opq in the root hides all layers below',
    source: `${OCI}, Opaque Whiteout`,
    layers: ['a', '.wh..wh..opq\nb', 'c'],
    shows: ['a', 'b'],
  },
  {
    rule: 'names of AUFS are hidden and delete nothing',
    source: 'aufs manual, .wh..wh.plnk and .wh..wh.aufs',
    layers: ['.wh..wh.plnk/q\n.wh..wh.aufs\n.wh.', '.wh.plnk\nplnk\nwh.aufs'],
    shows: ['plnk', 'wh.aufs'],
  },
  {
    rule: 'a device named .wh..opq is hidden and does not delete .opq',
    source: 'sylabs/singularity#3176',
    layers: ['d/.wh..opq c 0 0\nd/a', 'd/.opq\nd/b'],
    shows: ['d/^', 'd/.opq', 'd/a', 'd/b'],
  },
  {
    rule: 'a file named .wh..opq deletes .opq',
    source: `${OCI}, Whiteouts`,
    layers: ['d/.wh..opq\nd/a', 'd/.opq\nd/b'],
    shows: ['d/^', 'd/a', 'd/b'],
  },
  ...['trusted.overlay.opaque', 'user.overlay.opaque', 'user.fuseoverlayfs.opaque'].map((name) => ({
    rule: `${name}=y ends the merge of the directory`,
    source: 'fs/overlayfs/util.c:ovl_get_dir_xattr_val',
    layers: ['d/a', `d/ {${name}=y}\nd/b`, 'd/c'],
    shows: ['d/^', 'd/a', 'd/b'],
  })),
  ...['yy', '', 'n', 'Y'].map((value) => ({
    rule: `opaque=${JSON.stringify(value)} is not opaque: it must be the one byte y`,
    source: 'fs/overlayfs/util.c:ovl_get_dir_xattr_val',
    layers: [`d/ {user.overlay.opaque=${value}}\nd/a`, 'd/b'],
    shows: ['d/^', 'd/a', 'd/b'],
  })),
  {
    rule: 'trusted.overlay.opaque is preferred to user.overlay.opaque',
    source: 'fuse-overlayfs, order of its opaque test',
    layers: ['d/ {trusted.overlay.opaque=x user.overlay.opaque=y}\nd/a', 'd/b'],
    shows: ['d/^', 'd/a', 'd/b'],
  },
  ...['trusted', 'user'].map((space) => ({
    rule: `in a directory with ${space}.overlay.opaque=x an empty file with overlay.whiteout deletes`,
    source: `${RST}, whiteouts and opaque directories`,
    layers: [
      `d/ {${space}.overlay.opaque=x}\nd/a {${space}.overlay.whiteout=}\nd/b {${space}.overlay.whiteout=y}\nd/c`,
      'd/a\nd/b\nd/c\nd/e',
    ],
    shows: ['d/^', 'd/c', 'd/e'],
  })),
  {
    rule: 'overlay.whiteout means nothing on a file with content, a directory, or without opaque=x',
    source: 'fs/overlayfs/util.c:ovl_path_check_xwhiteout_xattr',
    layers: [
      `d/ {user.overlay.opaque=x}
       d/full = text {user.overlay.whiteout=y}
       d/sub/ {user.overlay.whiteout=y}
       e/plain {user.overlay.whiteout=y}`,
      'd/full\nd/sub/f\ne/plain',
    ],
    shows: ['d/^', 'd/full', 'd/sub/^', 'd/sub/f', 'e/^', 'e/plain'],
  },
  {
    rule: 'whiteouts by attribute are hidden in a directory of one layer',
    source: 'fs/overlayfs/readdir.c: "x" directories',
    layers: ['d/ {user.overlay.opaque=x}\nd/w {user.overlay.whiteout=}\nd/f', 'e'],
    shows: ['d/', 'd/f', 'e'],
  },
  {
    rule: 'a file hides a directory below',
    source: `${RST}, Non-directories`,
    layers: ['d', 'd/x'],
    shows: ['d'],
  },
  {
    rule: 'a directory over a file does not merge with what lies under the file',
    source: 'fs/overlayfs/namei.c:ovl_lookup_single',
    layers: ['d/a', 'd', 'd/c'],
    shows: ['d/', 'd/a'],
  },
  {
    rule: 'a symbolic link hides a directory and is not followed',
    source: `${RST}, Non-directories`,
    layers: ['d -> e', 'd/x\ne/y'],
    shows: ['d', 'e/', 'e/y'],
  },
  {
    rule: 'a whiteout below an opaque directory is hidden',
    source: 'fuse-overlayfs#309',
    layers: ['d/ {user.overlay.opaque=y}\nd/w c 0 0\nd/k', 'd/w'],
    shows: ['d/', 'd/k'],
  },
  {
    rule: 'the directories below a merged one merge by themselves',
    source: `${RST}, Directories`,
    layers: ['a/b/c/1', 'a/b/c/2\na/x/y', 'a/b/c/3\na/x c 0 0', 'a/x/z\na/b c 0 0'],
    shows: ['a/^', 'a/b/^', 'a/b/c/^', 'a/b/c/1', 'a/b/c/2', 'a/b/c/3', 'a/x/', 'a/x/y'],
  },
]

function treeOf(topFirst: readonly string[]): MergedTree {
  const layers = topFirst.map((text, depth) => layer(`layer ${topFirst.length - 1 - depth}`, text))
  return new MergedTree(layers.reverse())
}

describe('the rules of the merge', () => {
  test.each(RULES)('the merge follows the rule: $rule ($source)', ({ layers, shows }) => {
    expect(paths(treeOf(layers))).toEqual(shows)
  })

  test('names with high bytes sort as bytes in a merge', () => {
    expect(names(treeOf(['\xff\n\xc3\xa9\na', '\x80\nz']))).toEqual(['a', 'z', '\x80', '\xc3\xa9', '\xff'])
  })

  test('all marks of a directory delete, also beyond the number that is remembered', () => {
    const many = Array.from({ length: 3000 }, (_, i) => `n${i}`)
    const top = many.map((name) => `d/.wh.${name}`).join('\n')
    const tree = treeOf([
      `${top}\nd/.wh..wh.n`,
      [...many, 'other', '.wh.n'].map((name) => `d/${name}`).join('\n'),
    ])
    expect(paths(tree)).toEqual(['d/^', 'd/other'])
  })

  test('a layer without marks shows devices, names and attributes unchanged', () => {
    const text = 'd/ {user.overlay.opaque=y}\nd/w c 0 0\n.wh.a\na\nm {user.overlay.metacopy=}'
    const tree = new MergedTree([adapted(layer('plain', text), NO_MARKS)])
    expect(paths(tree)).toEqual(['.wh.a', 'a', 'd/', 'd/w', 'm'])
    expect(tree.listxattr(tree.lookup(1, 'd')!.nodeId)).toEqual(['user.overlay.opaque'])
  })

  test('a subdirectory as the root has the content that it has in the whole merge', () => {
    const layers = [layer('low', 'a/b/x\na/f'), layer('top', 'a/b/y\na/b/.wh.z')]
    expect(paths(new MergedTree(layers, { subdir: '/a/b/' }))).toEqual(['x', 'y'])
    expect(() => new MergedTree(layers, { subdir: 'a/c' })).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    )
    expect(() => new MergedTree(layers, { subdir: 'a/f' })).toThrow(
      expect.objectContaining({ code: 'ENOTDIR' }),
    )
    expect(() => new MergedTree(layers, { subdir: 'a/..' })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    )
  })

  test('a directory that was renamed in an overlay is an error, unless no layer below can have it', () => {
    const failure = expect.objectContaining({
      code: 'EIO',
      message: expect.stringMatching(/"d" was renamed/),
    })
    for (const redirect of ['user.overlay.redirect=/e', 'trusted.overlay.redirect=e']) {
      const moved = `d/ {${redirect}}\nd/a\ne c 0 0\nk`
      const tree = treeOf([moved, 'e/b'])
      // It is listed, and what is beside it is as ever.
      expect(names(tree)).toEqual(['d', 'k'])
      expect(() => tree.lookup(ROOT_NODE_ID, 'd')).toThrow(failure)
      expect(() => treeOf(['d/x', moved, 'e/b']).lookup(ROOT_NODE_ID, 'd')).toThrow(failure)
      expect(paths(treeOf([`d/ {${redirect} user.overlay.opaque=y}\nd/a`, 'e/b']))).toContain('d/a')
      expect(paths(treeOf([moved]))).toEqual(['d/', 'd/a', 'k'])
    }
  })

  /** A tree whose layers, top first, are continued where their redirects lead. */
  const following = (...specs: readonly string[]) => {
    const layers = specs.map((spec, i) => layer(`layer ${i}`, spec)).reverse()
    for (const one of layers) one.followsRedirects = true
    return new MergedTree(layers, { heldBytes: 0 })
  }
  const moved = (redirect: string) => `{trusted.overlay.redirect=${redirect}}`

  // fs/overlayfs/namei.c:ovl_lookup, ovl_lookup_layer, ovl_check_redirect
  test.each([
    ['to another name', [`d/ ${moved('e')}\nd/a\ne c 0 0`, 'e/b', 'e/c'], ['d/^', 'd/a', 'd/b', 'd/c']],
    [
      'to a path',
      [`p/d/ ${moved('/x/e')}\nx/e c 0 0`, 'x/e/b/c'],
      ['p/', 'p/d/^', 'p/d/b/', 'p/d/b/c', 'x/^'],
    ],
    [
      'again in a layer below',
      [`d/ ${moved('e')}\ne c 0 0`, `e/ ${moved('/x/f')}\ne/b\nx/f c 0 0`, 'x/f/c'],
      ['d/^', 'd/b', 'd/c', 'x/^'],
    ],
    [
      'through a directory that was moved itself',
      [`d/ ${moved('/x/e')}\nx/e c 0 0`, `x/ ${moved('y')}\ny c 0 0`, 'y/e/b\ny/k'],
      ['d/^', 'd/b', 'x/^', 'x/k'],
    ],
    [
      'and ends at an opaque one',
      [`d/ ${moved('e')}\ne c 0 0`, 'e/ {trusted.overlay.opaque=y}\ne/b', 'e/c'],
      ['d/^', 'd/b'],
    ],
    [
      'and ends at an opaque mark',
      [`d/ ${moved('/e')}\ne c 0 0`, 'e/b\ne/.wh..wh..opq', 'e/c'],
      ['d/^', 'd/b'],
    ],
    ['and ends at a whiteout', [`d/ ${moved('e')}\nd/a`, 'e c 0 0', 'e/c'], ['d/', 'd/a']],
    ['and ends at a mark', [`d/ ${moved('e')}\nd/a`, '.wh.e', 'e/c'], ['d/', 'd/a']],
    ['and ends at a file', [`d/ ${moved('/e/f')}\nd/a\ne c 0 0`, 'e', 'e/f/c'], ['d/', 'd/a']],
    [
      'and leads out of an opaque one',
      [
        `d/ ${moved('/x/e')}\nx c 0 0`,
        `x/ {trusted.overlay.opaque=y}\nx/e/ ${moved('/z')}\nx/e/b`,
        'z/c\nx/e/no',
      ],
      ['d/^', 'd/b', 'd/c', 'z/', 'z/c'],
    ],
    [
      'and not where it is opaque',
      ['d/ {trusted.overlay.redirect=e trusted.overlay.opaque=y}\nd/a', 'e/c'],
      ['d/', 'd/a', 'e/', 'e/c'],
    ],
    ['not to the old place', [`d/ ${moved('e')}\nd/a`, 'd/no'], ['d/', 'd/a']],
    [
      'below a directory of one layer',
      [`p/ {trusted.overlay.opaque=y}\np/d/ ${moved('/e')}`, 'e/c/f\np/no', 'e/c/g'],
      ['e/^', 'e/c/^', 'e/c/f', 'e/c/g', 'p/', 'p/d/^', 'p/d/c/^', 'p/d/c/f', 'p/d/c/g'],
    ],
  ])('a redirect is followed with redirect_dir=follow: %s', (_, specs, shows) => {
    expect(paths(following(...specs))).toEqual(shows)
  })

  test.each(['..', '.', '/a/../b', '/a//b', '/', '', 'a/b'])(
    'a malformed redirect %j is an error',
    (redirect) => {
      const top = layer('top', 'd/a')
      top.followsRedirects = true
      const tree = new MergedTree([layer('low', 'a/b/'), top])
      top.setXattr(top.at('d'), 'trusted.overlay.redirect', redirect)
      expect(() => tree.lookup(ROOT_NODE_ID, 'd')).toThrow(expect.objectContaining({ code: 'EIO' }))
    },
  )

  test('a merge of no layers is an error', () => {
    expect(() => new MergedTree([])).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })
})
