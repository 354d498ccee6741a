import { describe, expect, test } from 'vitest'
import { FsError, type Name, type NodeId } from '../../../src/base/index.ts'
import { type KnownPath, Rehearsal, rehearse } from '../../../src/fuse/index.ts'
import { FILE_NODE, MemoryFileSystem } from '../support/memory-file-system.ts'
import { ProtocolAlone } from '../support/protocol-alone.ts'

/** Counts what is asked of it. */
class WatchedFileSystem extends MemoryFileSystem {
  readonly lookups: Name[] = []
  readonly asked: NodeId[] = []

  override lookup(parent: NodeId, name: Name) {
    this.lookups.push(name)
    return super.lookup(parent, name)
  }

  override getattr(node: NodeId) {
    this.asked.push(node)
    return super.getattr(node)
  }
}

function stepsOf(rehearsal: Rehearsal): number {
  for (let steps = 0; steps < 100_000; steps++) if (rehearsal.step() === 'done') return steps
  throw new Error('does not end')
}

describe('rehearsal', () => {
  test('the rehearsal lists the tree, looks names up, reads a file, and ends', () => {
    const fileSystem = new WatchedFileSystem()
    const mount = new ProtocolAlone(fileSystem)
    expect(stepsOf(new Rehearsal(mount))).toBeGreaterThan(0)
    const names: Name[] = []
    fileSystem.readdir(1, 0, {
      plus: false,
      add: (name) => {
        if (name !== '.' && name !== '..') names.push(name)
        return true
      },
    })
    expect(names.length).toBeGreaterThan(1)
    // The listing of this file system looks names up as well.
    expect(new Set(fileSystem.lookups)).toEqual(new Set(names))
    expect(fileSystem.asked.length).toBeGreaterThanOrEqual(names.length)
    expect(mount.reads).toContain(FILE_NODE)
  })

  test('the rehearsal ends without an error if the tree is damaged or a handler has a bug', () => {
    for (const error of [new FsError('EIO', 'damaged'), new TypeError('bug')]) {
      class Broken extends MemoryFileSystem {
        override readdir(): void {
          throw error
        }
      }
      expect(stepsOf(new Rehearsal(new ProtocolAlone(new Broken())))).toBe(1)
    }
  })

  test('the rehearsal ends if the image cannot be opened any more', () => {
    const work = rehearse(() => {
      throw new FsError('EIO', 'file ends')
    })
    expect(work()).toBe(false)
  })

  test('the rehearsal ends when it has seen everything, and does not start again', () => {
    let opened = 0
    const work = rehearse(() => {
      opened += 1
      return new ProtocolAlone(new MemoryFileSystem())
    })
    let steps = 0
    while (work()) steps += 1
    expect(steps).toBeGreaterThan(0)
    expect(opened).toBe(1)
  })

  test('the rehearsal ends in an endless tree, and each of its steps is short', () => {
    let listed = 0
    class Endless extends MemoryFileSystem {
      override readdir(node: NodeId, cookie: number, sink: Parameters<MemoryFileSystem['readdir']>[2]): void {
        const entry = { nodeId: node + 1, stat: super.getattr(1) }
        let next = cookie + 1
        while (sink.add(`directory ${next}`, next, 4, next, entry)) {
          next += 1
          listed += 1
        }
      }
      override lookup(parent: NodeId) {
        return { nodeId: parent + 1, stat: super.getattr(1) }
      }
      override getattr() {
        return super.getattr(1)
      }
    }
    const rehearsal = new Rehearsal(new ProtocolAlone(new Endless()))
    expect(rehearsal.step()).toBe('more')
    expect(listed).toBeLessThan(100)
    stepsOf(rehearsal)
    expect(listed).toBeGreaterThan(1000)
    expect(listed).toBeLessThan(30_000)
  })

  test('a second rehearsal walks the paths that the first one met, also beside the names that are there', () => {
    const known: KnownPath[] = []
    stepsOf(new Rehearsal(new ProtocolAlone(new MemoryFileSystem()), known))
    expect(known.map((path) => path.join('/')).sort()).toEqual(['file', 'link'])
    const fileSystem = new WatchedFileSystem()
    const rehearsal = new Rehearsal(new ProtocolAlone(fileSystem), known)
    expect([rehearsal.step(), rehearsal.step()]).toEqual(['more', 'more'])
    expect(fileSystem.lookups.toSorted()).toEqual(['file', 'filef', 'link', 'linkl'])
  })

  test('a step that misses bytes which are being read is done again when they have come', () => {
    const fileSystem = new WatchedFileSystem()
    const mount = new ProtocolAlone(fileSystem)
    const work = rehearse(() => mount)
    mount.isWaiting = true
    expect([work(), work()]).toEqual(['later', 'later'])
    expect(fileSystem.lookups).toEqual([])
    mount.isWaiting = false
    while (work());
    expect(new Set(fileSystem.lookups)).toEqual(new Set(['file', 'link']))
  })
})
