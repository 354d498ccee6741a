import { type Keyslot, type LuksPlace, type Segment, wrong } from './layout.ts'

interface Area {
  readonly name: string
  readonly start: number
  readonly end: number
}

/**
 * Checks that the areas of the keyslots and the data lie in the image, and not over each other or the headers.
 * @throws FsError EIO
 */
export function checkAreas(
  keyslots: readonly Keyslot[],
  { offset, size }: Segment,
  { label, size: imageSize, headersEnd }: LuksPlace,
): void {
  const areas: Area[] = [
    { name: 'the header', start: 0, end: headersEnd },
    { name: 'the data', start: offset, end: offset + size },
  ]
  for (const { id, keySize, stripes, area } of keyslots) {
    const name = `the area of keyslot ${id}`
    const needed = keySize * stripes
    if (area.size < needed) throw wrong(label, `${name} has ${area.size} bytes, and its key needs ${needed}`)
    areas.push({ name, start: area.offset, end: area.offset + area.size })
  }
  areas.sort((a, b) => a.start - b.start)
  for (const [i, { name, start, end }] of areas.entries()) {
    if (end > imageSize) throw wrong(label, `${name} ends at byte ${end}, and the image at ${imageSize}`)
    const before = areas[i - 1]
    if (before !== undefined && before.end > start) {
      throw wrong(label, `${name} begins at byte ${start}, within ${before.name}`)
    }
  }
}
