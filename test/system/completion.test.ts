import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATOMFS_FUSE, makeTempDir, needs, removeTempDir, run, titled, withAtomfs } from '../library/index.ts'
import { ZSH_TERMINAL } from '../library/programs/zsh-terminal.ts'

/** The scripts of `completion`, in the shells that they are for. */

const LAYOUT = resolve(import.meta.dirname, '../../fixtures/oci')
const temp = makeTempDir()
const tree = join(temp, 'tree')
const scriptOf = (shell: string): string => join(temp, `completion.${shell}`)

beforeAll(async () => {
  for (const folder of ['oci', 'with space', 'a:b', "it's"]) {
    mkdirSync(join(tree, folder), { recursive: true })
    copyFileSync(join(LAYOUT, 'index.json'), join(tree, folder, 'index.json'))
  }
  writeFileSync(join(tree, 'file.sqfs'), '')
  // What a completion must not run.
  writeFileSync(join(tree, '$(touch PWNED)'), '')
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout, stderr } = await run(ATOMFS_FUSE, ['completion', shell])
    expect(stderr).toBe('')
    writeFileSync(scriptOf(shell), stdout)
  }
})
afterAll(() => removeTempDir(temp))

test('completion names the shells that it knows', async () => {
  const result = await run(ATOMFS_FUSE, ['completion', 'tcsh'], { allowFailure: true })
  expect(result).toMatchObject({
    status: 1,
    stdout: '',
    stderr: 'Error: no completion for "tcsh": the shells are bash, zsh, fish\n',
  })
})

/**
 * A typed line; the part that bash replaces, which its words do not show in quotes (seen with bash 5.2); what bash gets;
 * what the line becomes in zsh; the words that fish offers.
 */
const CASES: readonly (readonly [
  typed: string,
  replaced: string,
  bash: readonly string[],
  zsh: string,
  fish: readonly string[],
])[] = [
  ['atomfs-fuse mo', 'mo', ['mount'], 'atomfs-fuse mount ', ['mount']],
  ['atomfs-fuse --debug umo', 'umo', ['umount'], 'atomfs-fuse --debug umount ', ['umount']],
  ['atomfs-fuse unm', 'unm', ['unmount'], 'atomfs-fuse unmount ', ['unmount']],
  ['atomfs-fuse completion z', 'z', ['zsh'], 'atomfs-fuse completion zsh ', ['zsh']],
  [
    'atomfs-fuse mount --foreg',
    '--foreg',
    ['--foreground'],
    'atomfs-fuse mount --foreground ',
    ['--foreground'],
  ],
  ['atomfs-fuse mount --verify=la', 'la', ['lazy'], 'atomfs-fuse mount --verify=lazy ', ['--verify=lazy']],
  ['atomfs-fuse mount --verify ea', 'ea', ['eager'], 'atomfs-fuse mount --verify eager ', ['eager']],
  ['atomfs-fuse mount --log fi', 'fi', ['file.sqfs'], 'atomfs-fuse mount --log file.sqfs ', ['file.sqfs']],
  // Lists after -o: the last item.
  [
    'atomfs-fuse mount -o ro,ver',
    'ro,ver',
    ['ro,verify='],
    'atomfs-fuse mount -o ro,verify=',
    ['ro,verify='],
  ],
  [
    'atomfs-fuse mount -o ro,verify=la',
    'la',
    ['lazy'],
    'atomfs-fuse mount -o ro,verify=lazy,',
    ['ro,verify=lazy'],
  ],
  [
    'atomfs-fuse mount -oro,fsync=st',
    'st',
    ['strict'],
    'atomfs-fuse mount -oro,fsync=strict,',
    ['-oro,fsync=strict'],
  ],
  [
    'fuse-overlayfs -o redirect_dir=fol',
    'fol',
    ['follow'],
    'fuse-overlayfs -o redirect_dir=follow,',
    ['redirect_dir=follow'],
  ],
  [
    'fuse-overlayfs -o lowerdir=oci:wi',
    'wi',
    ['with space'],
    'fuse-overlayfs -o lowerdir=oci:with\\ space/',
    ['lowerdir=oci:with space/'],
  ],
  // Sources: files, directories, and tags behind a colon.
  ['atomfs-fuse mount fi', 'fi', ['file.sqfs'], 'atomfs-fuse mount file.sqfs ', ['file.sqfs']],
  ['squashfuse fi', 'fi', ['file.sqfs'], 'squashfuse file.sqfs ', ['file.sqfs']],
  ['atomfs-fuse mount wi', 'wi', ['with space'], 'atomfs-fuse mount with\\ space/', ['with space/']],
  ['atomfs-fuse mount it', 'it', ["it's"], "atomfs-fuse mount it\\'s/", ["it's/"]],
  [
    "atomfs-fuse mount '$",
    '$',
    ['$(touch PWNED)'],
    "atomfs-fuse mount '$(touch PWNED)' ",
    ['$(touch PWNED)'],
  ],
  [
    'atomfs-fuse mount oci:demo-',
    'demo-',
    ['demo-noverity'],
    'atomfs-fuse mount oci:demo-noverity ',
    ['oci:demo-noverity'],
  ],
  [
    'atomfs-fuse mount with\\ space:demo-',
    'demo-',
    ['demo-noverity'],
    'atomfs-fuse mount with\\ space:demo-noverity ',
    ['with space:demo-noverity'],
  ],
  [
    "atomfs-fuse mount 'with space:demo-",
    'with space:demo-',
    ['with space:demo-noverity'],
    "atomfs-fuse mount 'with space:demo-noverity' ",
    ['with space:demo-noverity'],
  ],
  [
    'atomfs-fuse mount a\\:b:demo-',
    'demo-',
    ['demo-noverity'],
    'atomfs-fuse mount a:b:demo-noverity ',
    ['a:b:demo-noverity'],
  ],
  [
    'atomfs-fuse mount oci:demo wi',
    'wi',
    ['with space'],
    'atomfs-fuse mount oci:demo with\\ space/',
    ['with space/'],
  ],
]

/** What bash would put into `COMPREPLY`, a line each. */
async function inBash(typed: string, replaced: string): Promise<readonly string[]> {
  const name = typed.split(' ')[0]!
  const code = `. ${scriptOf('bash')}; COMP_LINE=$1 COMP_POINT=$\{#1}; _atomfs_fuse "$2" "$3" x; printf '%s\\n' "$\{COMPREPLY[@]}"`
  const { stdout } = await run('bash', ['--norc', '-c', code, 'bash', typed, name, replaced], { cwd: tree })
  return stdout.split('\n').filter((line) => line !== '')
}

async function inZsh(lines: readonly string[]): Promise<readonly string[]> {
  const { stdout } = await run(
    'zsh',
    ['-f', '-c', ZSH_TERMINAL, 'zsh', scriptOf('zsh'), tree, join(temp, 'zsh.out')],
    { input: lines.map((line) => `${line}\n`).join('') },
  )
  return stdout.split('\n').slice(0, -1)
}

async function inFish(lines: readonly string[]): Promise<readonly (readonly string[])[]> {
  const code = `source ${scriptOf('fish')}; while read -l line; complete -C $line | string replace -r '\\t.*' ''; echo; end`
  const { stdout } = await run('fish', ['-N', '-c', code], {
    cwd: tree,
    env: { HOME: temp },
    input: lines.map((line) => `${line}\n`).join(''),
  })
  return stdout.split('\n\n').map((text) => text.split('\n').filter((line) => line !== ''))
}

describe('the completion of bash', () => {
  const need = needs('bash')

  for (const [typed, replaced, expected] of CASES) {
    test.skipIf(!need.ok)(titled(`bash completes ${typed}`, need), async () => {
      expect(await inBash(typed, replaced)).toEqual(expected)
    })
  }

  test.skipIf(!need.ok)(titled('bash offers all that is possible', need), async () => {
    expect(await inBash('atomfs-fuse mount oci:', '')).toEqual(['demo', 'demo-noverity'])
    expect((await inBash('atomfs-fuse ', '')).slice(0, 3)).toEqual(['mount', 'overlay', 'umount'])
    expect((await inBash('atomfs-fuse mount -o ', '')).slice(0, 2)).toEqual(['ro', 'rw'])
    expect(await inBash('atomfs-fuse doctor x', 'x')).toEqual([])
  })
})

describe('the completion of zsh', () => {
  const need = needs('zsh')

  test.skipIf(!need.ok)(titled('zsh completes what is typed', need), async () => {
    const got = await inZsh(CASES.map(([typed]) => typed))
    expect(got).toEqual(CASES.map(([, , , line]) => line))
  })
})

describe('the completion of fish', () => {
  const need = needs('fish')

  test.skipIf(!need.ok)(titled('fish offers words for what is typed', need), async () => {
    const got = await inFish(CASES.map(([typed]) => typed))
    expect(got.slice(0, CASES.length)).toEqual(CASES.map(([, , , , words]) => words))
  })
})

const mounting = needs('root', 'fuse')
test.skipIf(!mounting.ok)(
  titled('the shells offer the places of mounts, and not those of others', mounting),
  async () => {
    const parent = join(temp, "my mounts'")
    mkdirSync(parent)
    await withAtomfs(parent, `${LAYOUT}:demo`, async ({ target }) => {
      for (const verb of ['umount', 'status', 'verify']) {
        const typed = `atomfs-fuse ${verb} ${temp}/my`
        const quoted = target.replace(/[ ']/g, '\\$&')
        expect(await inBash(typed, `${temp}/my`)).toContain(quoted)
        if (verb === 'verify') continue
        expect(await inBash(`atomfs-fuse ${verb} /`, '/')).not.toContain('/proc')
        if (needs('zsh').ok) expect(await inZsh([typed])).toEqual([`atomfs-fuse ${verb} ${quoted} `])
        if (needs('fish').ok) expect((await inFish([typed]))[0]).toEqual([target])
      }
    })
  },
)

test('no completion ran what it found', async () => {
  await expect(run('ls', [join(tree, 'PWNED')])).rejects.toThrow()
})
