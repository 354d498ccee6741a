import { chmodSync, chownSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import type { UpperPolicy } from '../../overlay/stored/policy.ts'
import { setUmask0 } from '../../src/sys/process/session.ts'
import {
  bundleProgram,
  makeTempDir,
  needs,
  ownMounts,
  Random,
  removeTempDir,
  run,
  titled,
} from '../library/index.ts'
import { KernelSide } from '../overlay/upper/support/kernel-side.ts'
import { makeLower } from '../overlay/upper/support/lowers.ts'
import {
  describeTree,
  outcome,
  randomOperation,
  runRandom,
  updateHeld,
} from '../overlay/upper/support/operations.ts'
import type { Side } from '../overlay/upper/support/side.ts'
import { SnapshotLayer } from '../overlay/upper/support/snapshot-layer.ts'
import { TreeSide } from '../overlay/upper/support/tree-side.ts'
import { REAL } from '../overlay/upper/support.ts'

const need = needs('root', 'kernel-overlayfs')
const STEPS = 250

function seeds(): number[] {
  const wanted = process.env['ATOMFS_SEEDS'] ?? '12'
  const [first = 0, last] = wanted.includes('-') ? wanted.split('-').map(Number) : [0, Number(wanted) - 1]
  return Array.from({ length: (last ?? 0) - first + 1 }, (_, i) => first + i)
}

/**
 * Link counts aside: those of files that have several names below are counted where the file lies, and the kernel copies
 * up when a file is opened, we when it is changed. Nor does overlayfs with the attributes of users hide those of root.
 */
function comparable(text: string): string {
  return text.replace(/\\?"nlink\\?":\d+,/g, '').replace(/"trusted\.overlay\.atomfs\.ino":"\w+",?/, '')
}

function comparableTree(side: Side): Map<string, string> {
  return new Map([...describeTree(side)].map(([path, text]) => [path, comparable(text)]))
}

function assertSameTree(ours: Side, kernel: Side, when: string): void {
  const [left, right] = [comparableTree(ours), comparableTree(kernel)]
  const differing = [...new Set([...left.keys(), ...right.keys()])].filter(
    (path) => left.get(path) !== right.get(path),
  )
  const report = differing.map((path) => `${path}\n  ours   ${left.get(path)}\n  kernel ${right.get(path)}`)
  expect(report.join('\n'), when).toBe('')
}

/** Inode numbers by path, and no number for two files. */
function inodes(side: Side): Map<string, number> {
  const numbers = new Map<string, number>()
  for (const path of describeTree(side).keys()) numbers.set(path, side.look(path).stat.ino)
  return numbers
}

interface Variant {
  readonly seed: number
  readonly policy: UpperPolicy
  /** The layers are images rather than directories. */
  readonly images: boolean
  /** Files of the layers have several names. */
  readonly hardLinks: boolean
}

/** With `trusted.` attributes the kernel redirects directories; with those of users it refuses to move them. */
function variantOf(seed: number): Variant {
  const markers = seed % 2 === 0 ? 'user' : 'trusted'
  const owners = seed % 5 === 4 ? 'override' : 'real'
  const whiteouts = seed % 7 === 3 ? 'wh' : 'device'
  return {
    seed,
    policy: { ...REAL, markers, owners, whiteouts },
    images: seed % 3 !== 0,
    hardLinks: seed % 4 !== 1,
  }
}

class Scene {
  readonly folder = makeTempDir()
  readonly random: Random
  readonly #variant: Variant
  /** Top first, as for the kernel. */
  readonly #lowers: string[] = []
  readonly #sides: Side[] = []

  constructor(variant: Variant) {
    setUmask0()
    this.#variant = variant
    this.random = new Random(variant.seed)
    const count = this.random.int(1, 3)
    for (let i = 0; i < count; i++) {
      const lower = this.folderNamed(`l${i}`)
      makeLower(this.random, lower, {
        namespace: variant.policy.markers,
        bottom: i === 0,
        hardLinks: variant.hardLinks,
      })
      this.#lowers.unshift(lower)
    }
  }

  folderNamed(name: string): string {
    const path = join(this.folder, name)
    mkdirSync(path, { recursive: true })
    return path
  }

  kernel(upper: string): KernelSide {
    const [dir, work, target] = [upper, `${upper}-kwork`, `${upper}-mnt`].map((name) =>
      this.folderNamed(name),
    )
    const markers = this.#variant.policy.markers === 'user' ? 'userxattr' : 'redirect_dir=on'
    const layers = `lowerdir=${this.#lowers.join(':')},upperdir=${dir},workdir=${work}`
    return this.#opened(new KernelSide(target ?? '', `${layers},${markers},index=off`))
  }

  ours(upper: string, policy = this.#variant.policy): TreeSide {
    const lingers = new Random(this.#variant.seed + 1)
    const paths = [...this.#lowers].reverse()
    const lowers = this.#variant.images ? paths.map((path, i) => new SnapshotLayer(path, i)) : paths
    const places = { lowers, upper: this.folderNamed(upper), work: this.folderNamed(`${upper}-work`) }
    const redirectDir = policy.markers === 'trusted'
    return this.#opened(new TreeSide(places, policy, { redirectDir }, () => lingers.chance(0.3)))
  }

  closeSide(side: Side): void {
    this.#sides.splice(this.#sides.indexOf(side), 1)
    side.close()
  }

  close(): void {
    for (const side of this.#sides) side.close()
    removeTempDir(this.folder)
  }

  #opened<T extends Side>(side: T): T {
    this.#sides.push(side)
    return side
  }
}

/** The same steps on both, compared after each, and all there is after every few. */
function runSteps({ random }: Scene, ours: TreeSide, kernel: KernelSide, variant: Variant): void {
  const held = new Set<number>()
  const releaseAll = () => {
    for (const one of held) for (const side of [ours, kernel]) side.release(one)
    held.clear()
  }
  for (let step = 0; step < STEPS; step++) {
    const operation = randomOperation(random, held, variant.policy.markers)
    const [left, right] = [outcome(operation, ours), outcome(operation, kernel)]
    expect(comparable(left), `step ${step}: ${operation.text}`).toBe(comparable(right))
    updateHeld(held, operation, left)
    if (step % 10 === 9) assertSameTree(ours, kernel, `after step ${step}: ${operation.text}`)
    if (step % 50 === 49) ours.forgetAll()
    if (step % 100 !== 99) continue
    releaseAll()
    const before = inodes(ours)
    for (const side of [ours, kernel]) side.remount()
    assertSameTree(ours, kernel, `after the remount at step ${step}`)
    expect(inodes(ours)).toEqual(before)
  }
  releaseAll()
}

beforeAll(() => {
  if (need.ok) ownMounts()
})

describe.skipIf(!need.ok)(titled('our tree beside kernel overlayfs', need), () => {
  test.each(seeds())('random operations on our tree match kernel overlayfs, seed %i', (seed) => {
    const variant = variantOf(seed)
    const scene = new Scene(variant)
    try {
      const ours = scene.ours('u')
      const kernel = scene.kernel('k')
      assertSameTree(ours, kernel, 'at the start')
      runSteps(scene, ours, kernel, variant)
      // Nothing is held for what nobody knows any more.
      ours.forgetAll()
      expect(ours.tree.state.nodes).toBe(1)
      const { owners, whiteouts } = variant.policy
      if (owners !== 'real' || whiteouts !== 'device') return
      scene.closeSide(ours)
      const cross = scene.kernel('u')
      assertSameTree(cross, kernel, 'the kernel on our upper')
      for (const side of [cross, kernel]) scene.closeSide(side)
      assertSameTree(scene.ours('k'), scene.ours('u'), 'ours on the upper of the kernel')
    } finally {
      scene.close()
    }
  })
})

const plain = needs('root', 'kernel-overlayfs', 'setpriv')

/** Readable for everybody, or a plain user could not have it as a layer. */
function makeReadableLower(random: Random, root: string): void {
  for (const directory of ['a', 'a/dd', 'c', 'dd', 'dd/-f']) {
    mkdirSync(join(root, directory))
    for (const name of ['.g', 'b', 'c']) {
      const path = join(root, directory, name)
      writeFileSync(path, random.text(random.int(0, 5000)))
      utimesSync(path, 1_000_000_000, 1_000_000_000)
    }
    utimesSync(join(root, directory), 1_000_000_000, 1_000_000_000)
  }
}

describe.skipIf(!plain.ok)(titled('our tree of a plain user beside kernel overlayfs of root', plain), () => {
  test.each([1, 2, 3])(
    'random operations as a plain user match kernel overlayfs as root, seed %i',
    async (seed) => {
      const folder = makeTempDir()
      let kernel: KernelSide | undefined
      try {
        chmodSync(folder, 0o755)
        for (const name of ['lower', 'upper', 'work', 'kupper', 'kwork', 'mnt']) {
          mkdirSync(join(folder, name), { mode: 0o755 })
          chmodSync(join(folder, name), 0o755)
        }
        makeReadableLower(new Random(seed), join(folder, 'lower'))
        for (const name of ['upper', 'work']) chownSync(join(folder, name), 65_534, 65_534)
        setUmask0()
        const program = await bundleProgram(
          fileURLToPath(new URL('../overlay/upper/support/plain-tree-main.ts', import.meta.url)),
        )
        const user = ['--reuid', '65534', '--regid', '65534', '--clear-groups']
        const command = [process.execPath, program, folder, `${seed}`, `${STEPS}`]
        const { stdout } = await run('setpriv', [...user, ...command])
        const printed = JSON.parse(stdout)
        expect(printed.policy).toMatchObject({ owners: 'override', markers: 'user' })
        const [lower, upper, work] = ['lower', 'kupper', 'kwork'].map((name) => join(folder, name))
        const options = `lowerdir=${lower},upperdir=${upper},workdir=${work},userxattr,index=off`
        kernel = new KernelSide(join(folder, 'mnt'), options)
        expect(printed.outcomes).toEqual(runRandom(kernel, new Random(seed), STEPS))
        const tree = new Map(describeTree(kernel))
        // The root of the upper is the user's own.
        tree.delete('/')
        const ours = new Map(printed.tree)
        ours.delete('/')
        expect(ours).toEqual(tree)
      } finally {
        kernel?.close()
        removeTempDir(folder)
      }
    },
  )
})
