import { chmodSync, chownSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import {
  bundleProgram,
  compareTrees,
  mksquashfs,
  needs,
  ociSource,
  Random,
  run,
  type TreeEntry,
  titled,
  UNVERIFIED,
  withTempDir,
} from '../library/index.ts'
import {
  ID_RANGE,
  type IdMap,
  inNamespace,
  SINGLE_ID,
  WITH_OUTER_ROOT,
} from '../library/scenes/namespaces.ts'

/**
 * Real work in a writable mount as root of a user namespace: first in the overlay of the kernel over the same content, then in
 * a mount over two layers, with the same output and the same tree, which is still the same after a remount.
 */

const NEEDS = ['root', 'fuse', 'mksquashfs', 'kernel-overlayfs', 'userns', 'unshare', 'nsenter', 'tar']
const walker = fileURLToPath(new URL('../library/trees/walk-main.ts', import.meta.url))

interface Work {
  readonly name: string
  readonly programs: readonly string[]
  /** Begins in the directory. $OWNERS is empty where there is root alone. */
  readonly script: string
  readonly output: string
}

const WORKS: readonly Work[] = [
  {
    name: 'tar in and out, with owners',
    programs: [],
    script: `
      mkfifo -m 620 sub/fifo; mkdir -m 3770 sub/dir; : > "$(printf 'sub/odd\\n\\377')"
      [ -z "$OWNERS" ] || chown 33:1000 sub/dir sub/one; chmod 6755 sub/one; ln sub/one sub/dir/hard
      truncate -s 3M sub/sparse; echo end >> sub/sparse
      pack() { tar -c --format=gnu --sort=name --numeric-owner --sparse -C "$1" sub etc; }
      pack . > "$HOME/one.tar"
      mkdir copy
      tar -x --same-owner --numeric-owner -p -C copy < "$HOME/one.tar"
      pack copy | cmp - "$HOME/one.tar" && echo equal
      # Over what is there, after some of it has got another name or type.
      rm -r etc/deep; echo file > etc/deep; mv sub/many sub/moved; rm sub/moved/1*; mkdir sub/two.d
      tar -x --same-owner --numeric-owner -p --recursive-unlink --unlink-first < "$HOME/one.tar"
      tar -d --numeric-owner < "$HOME/one.tar" && echo no difference`,
    output: 'equal\nno difference\n',
  },
  {
    name: 'git: clone, merge, repack, check',
    programs: ['git'],
    script: `
      export GIT_AUTHOR_DATE=2024-01-01T00:00:00Z GIT_COMMITTER_DATE=2024-01-01T00:00:00Z
      git config --global user.name a; git config --global user.email a; git config --global init.defaultBranch main
      cd sub; git init -q; git add .; git commit -qm one; cd ..
      git clone -q --no-local "file://$PWD/sub" clone; cd clone
      git mv many moved; git rm -q two; echo new > new; git add .; git commit -qm two
      git checkout -q -b side HEAD~1; echo side >> one; git commit -qam side
      git merge -q -m merge main; git gc -q; git push -q origin side
      git fsck --full --strict; git status --short; git log --format=%s; git ls-files | wc -l
      cd ../sub; git fsck --full; git checkout -q side; git status --short; ls
      rm -r .git ../clone/.git`,
    output: 'merge\nside\ntwo\none\n62\nmoved\nnew\none\n',
  },
  {
    name: 'SQLite, two writers in each mode',
    programs: ['sqlite3'],
    script: `
      write() {
        for i in $(seq 25); do
          echo "BEGIN IMMEDIATE; INSERT INTO t VALUES($1, zeroblob($i * 300)); UPDATE n SET n = n + 1;"
          [ $((i % 5)) = 0 ] && echo 'ROLLBACK;' || echo 'COMMIT;'
        done | sqlite3 -bail -cmd '.timeout 60000' data.db
      }
      for mode in delete wal; do
        sqlite3 data.db "PRAGMA journal_mode=$mode; CREATE TABLE t(w, b); CREATE TABLE n(n); INSERT INTO n VALUES(0);"
        write 1 & first=$!; write 2; wait $first
        sqlite3 data.db 'SELECT w, count(*) FROM t GROUP BY w; SELECT n FROM n; PRAGMA integrity_check;'
        rm data.db
      done`,
    output: 'delete\n1|20\n2|20\n40\nok\nwal\n1|20\n2|20\n40\nok\n',
  },
  {
    name: 'pipes, sockets and locks with names',
    programs: ['flock'],
    script: `
      mkfifo -m 600 in out
      sort -rn < in > out & seq 20000 > in & head -n 1 out; wait
      (tr a-z A-Z < in > out & cat sub/one etc/deep/file > in; wait) & cat out; wait
      node -e '
        const net = require("node:net")
        const server = net.createServer((c) => c.on("data", (d) => c.end(String(d).toUpperCase()))).listen("socket", () => {
          net.connect("socket").on("data", (d) => console.log(String(d))).on("end", () => server.close()).write("ping")
        })'
      (flock -x 9; flock -n 8 && echo locked twice || echo locked; umask 027; mkfifo -m 666 third; : > fourth) 9> lock 8> lock
      stat -c '%F %a' in lock third fourth`,
    output:
      '20000\nONE\nDEEP\nPING\nlocked\nfifo 600\nregular empty file 644\nfifo 666\nregular empty file 640\n',
  },
]

/** A tree in two layers, bottom first. With owners where there are any. */
function makeLayers(temp: string, ids: IdMap): readonly string[] {
  const [lower, upper] = [join(temp, 'lower'), join(temp, 'upper')]
  mkdirSync(join(lower, 'sub/many'), { recursive: true })
  mkdirSync(join(lower, 'etc/deep'), { recursive: true })
  writeFileSync(join(lower, 'sub/one'), 'one\n')
  linkSync(join(lower, 'sub/one'), join(lower, 'sub/two'))
  for (let i = 0; i < 30; i += 1) writeFileSync(join(lower, `sub/many/${i}`), new Random(i).bytes(i * 500))
  mkdirSync(join(upper, 'sub/many'), { recursive: true })
  mkdirSync(join(upper, 'etc/deep'), { recursive: true })
  for (let i = 30; i < 60; i += 1) symlinkSync(`${i - 30}`, join(upper, `sub/many/${i}`))
  writeFileSync(join(upper, 'etc/deep/file'), 'deep\n')
  if (ids.count > 1) {
    chownSync(join(lower, 'sub/one'), 1000, 1001)
    for (const tree of [lower, upper]) chownSync(join(tree, 'sub/many'), 33, 0)
  }
  return [lower, upper]
}

/** $1 the directory, $2 the work, $3 a name for what is seen, $4 the program that walks, $5 $OWNERS */
const WORK = `
export OWNERS="$5"
(cd "$1" && sh -ec "$2") > "$HOME/$3.out" 2>&1 || echo "failed: $?" >> "$HOME/$3.out"
node "$4" "$1" > "$HOME/$3.json"`

/**
 * Below the overlay of the kernel, so that a changed name of a file with several names is a copy of its own there too.
 * The shell ends with its namespace of mounts, and the overlay with it.
 */
const UNPACK = `
mkdir "$1" plain.lower plain.upper plain.work
tar -x -p --numeric-owner -C plain.lower -f plain.tar
mount -t overlay -o lowerdir=plain.lower,upperdir=plain.upper,workdir=plain.work,userxattr,index=off overlay "$1"`

/** $1 to $4 as there, $6 the source, $7 options */
const WORK_MOUNTED = `
mount_it() { "$0" mount ${UNVERIFIED.join(' ')} $7 --persist place "$6" "$1"; }
mount_it "$@"
${WORK}
"$0" umount "$1"
find place/work/work -mindepth 1 > left
mount_it "$@"
node "$4" "$1" > "$HOME/again.json"
"$0" umount "$1"`

function treeOf(folder: string, name: string): TreeEntry[] {
  return JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as TreeEntry[]
}

/** The directory that the layers make, with owners as in there. */
async function makePlain(temp: string, layers: readonly string[], tar: string): Promise<void> {
  const merged = join(temp, 'merged')
  mkdirSync(merged)
  for (const layer of layers) await run('cp', ['-a', `${layer}/.`, merged])
  await run('tar', ['-c', '--numeric-owner', '-C', merged, '-f', tar, '.'])
}

interface Place {
  readonly place: string
  readonly ids: IdMap
  readonly options: string
  /** How many of the works are done there; `ATOMFS_STRESS=1` does all of them everywhere. */
  readonly works: number
}

const ALL = WORKS.length
const PLACES: readonly Place[] = [
  { place: 'a range of ids', ids: ID_RANGE, options: '', works: ALL },
  {
    place: 'a range of ids, by other options',
    ids: ID_RANGE,
    options: '-o redirect_dir=off,writeback=0',
    works: 1,
  },
  { place: 'one id', ids: SINGLE_ID, options: '', works: 2 },
]

describe.each(PLACES)('programs in a user namespace with $place', ({ ids, options, works }) => {
  const count = process.env['ATOMFS_STRESS'] === '1' ? ALL : works
  for (const { name, programs, script, output } of WORKS.slice(0, count)) {
    const need = needs(...NEEDS, ...programs)
    test.skipIf(!need.ok)(titled(name, need), async () => {
      await withTempDir(async (temp) => {
        chmodSync(temp, 0o755)
        const layers = makeLayers(temp, ids)
        const images = await Promise.all(layers.map((layer) => mksquashfs(layer, `${layer}.squashfs`)))
        const source = await ociSource(temp, 'oci', images)
        await inNamespace(ids, async ({ folder, target, inside }) => {
          const [plain, tar] = [join(folder, 'plain'), join(folder, 'plain.tar')]
          await makePlain(temp, layers, tar)
          const last = [await bundleProgram(walker), ids.count > 1 ? 'yes' : ''] as const
          await inside(`${UNPACK}; ${WORK}`, plain, script, 'plain', ...last)
          await inside(WORK_MOUNTED, target, script, 'ours', ...last, source, options)
          for (const where of ['plain', 'ours']) {
            expect(readFileSync(join(folder, `${where}.out`), 'utf8'), where).toBe(output)
          }
          const ours = treeOf(folder, 'ours')
          const asPlain = { ignore: ['mtime'], ignoreDirectoryNlink: true } as const
          expect(compareTrees(ours, treeOf(folder, 'plain'), asPlain)).toEqual([])
          expect(compareTrees(treeOf(folder, 'again'), ours), 'after a remount').toEqual([])
          expect(readFileSync(join(folder, 'left'), 'utf8')).toBe('')
        })
      })
    })
  }
})

const need = needs('root', 'fuse', 'mksquashfs', 'userns', 'unshare', 'nsenter')
test.skipIf(!need.ok)(
  titled('a writable mount works in a user namespace that maps root of the machine', need),
  async () => {
    await withTempDir(async (temp) => {
      chmodSync(temp, 0o755)
      const tree = join(temp, 'tree')
      mkdirSync(tree)
      chownSync(tree, WITH_OUTER_ROOT.first, WITH_OUTER_ROOT.first)
      writeFileSync(join(tree, 'old'), 'old')
      const source = await ociSource(temp, 'oci', [await mksquashfs(tree, `${tree}.squashfs`)])
      await inNamespace(WITH_OUTER_ROOT, async ({ folder, target, inside }) => {
        // The program belongs to root of the machine, mostly, and so to neither root nor nobody in there.
        const script = `
        "$0" mount ${UNVERIFIED.join(' ')} --persist "$HOME/kept" "$2" "$1"
        stat -c %u "$1/old"; echo new > "$1/new"
        "$0" umount "$1"`
        const { stdout, stderr } = await inside(script, target, source)
        expect(stdout + stderr).toBe('0\n')
        expect(readFileSync(join(folder, 'kept/persist/new'), 'utf8')).toBe('new\n')
      })
    })
  },
)
