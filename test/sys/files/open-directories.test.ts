import { constants, mkdirSync, openSync, readdirSync, renameSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { OpenDirectories, openDirectoryAt, type Place } from '../../../src/sys/files/open-directories.ts'
import { statFd } from '../../../src/sys/files/statx.ts'
import { withTempDir } from '../../library/index.ts'

const MOST = 8

function openRoot(folders: OpenDirectories, path: string): Place {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
  const place: Place = { name: '', stat: statFd(fd) }
  folders.add(place, fd)
  return place
}

/** A directory below another one. */
function addBelow(folders: OpenDirectories, parent: Place, name: string): Place {
  const fd = openDirectoryAt(folders.fd(parent), name)
  const place: Place = { parent, name, stat: statFd(fd) }
  folders.add(place, fd)
  return place
}

const openNow = (): number => readdirSync('/proc/self/fd').length

test('of many directories a few stay open, and the others are found again', async () => {
  await withTempDir((temp) => {
    const depth = 100
    mkdirSync(join(temp, 'd/'.repeat(depth)), { recursive: true })
    const folders = new OpenDirectories(MOST)
    const before = openNow()
    const places = [openRoot(folders, temp)]
    for (let level = 0; level < depth; level += 1) places.push(addBelow(folders, places.at(-1)!, 'd'))
    expect(openNow() - before).toBeLessThanOrEqual(MOST)
    for (const place of [...places, ...places.reverse()]) {
      expect(statFd(folders.fd(place)).inode).toBe(place.stat.inode)
      expect(openNow() - before).toBeLessThanOrEqual(MOST)
    }
    folders.closeAll()
    expect(openNow()).toBe(before)
  })
})

test('a pinned one keeps its descriptor, and half of them pinned is full', async () => {
  await withTempDir((temp) => {
    const names = Array.from({ length: 20 }, (_, i) => `d${i}`)
    for (const name of names) mkdirSync(join(temp, name))
    const folders = new OpenDirectories(MOST)
    const root = openRoot(folders, temp)
    const [first, ...others] = names.map((name) => addBelow(folders, root, name))
    folders.pin(first!)
    folders.pin(first!)
    const fd = folders.fd(first!)
    for (const place of others) folders.fd(place)
    folders.unpin(first!)
    for (const place of others) folders.fd(place)
    expect(statFd(fd).inode).toBe(first!.stat.inode)
    expect(folders.isFull).toBe(false)
    for (const place of others.slice(0, MOST / 2 - 1)) folders.pin(place)
    expect(folders.isFull).toBe(true)
    folders.unpin(first!)
    expect(folders.isFull).toBe(false)
    folders.closeAll()
  })
})

test('what somebody has put in place of a directory is not taken for it', async () => {
  await withTempDir((temp) => {
    for (const name of ['a', 'b', 'c']) mkdirSync(join(temp, name))
    const folders = new OpenDirectories(MOST)
    const root = openRoot(folders, temp)
    const [a, b, c] = ['a', 'b', 'c'].map((name) => addBelow(folders, root, name))
    for (const place of [a!, b!, c!]) folders.close(place)
    renameSync(join(temp, 'a'), join(temp, 'elsewhere'))
    mkdirSync(join(temp, 'a'))
    rmdirSync(join(temp, 'b'))
    expect(() => folders.fd(a!)).toThrow(/was replaced by somebody else/)
    expect(() => folders.fd(b!)).toThrow(/was replaced by somebody else/)
    // The same directory, of another owner.
    const other: Place = { ...c!, stat: { ...c!.stat, uid: c!.stat.uid + 1 } }
    expect(() => folders.fd(other)).toThrow(/was replaced by somebody else/)
    expect(statFd(folders.fd(c!)).inode).toBe(c!.stat.inode)
    folders.closeAll()
  })
})
