import { expect, test } from 'vitest'
import { encodeMessage, Incoming, LENGTH_BYTES } from '../../../src/daemon/shared/protocol.ts'

test('messages are put together from any pieces', () => {
  const messages = [{ a: 1 }, { text: 'ä'.repeat(300) }, {}]
  const bytes = Buffer.concat(messages.map(encodeMessage))
  for (const size of [1, 3, 64, bytes.length]) {
    const incoming = new Incoming()
    const found: unknown[] = []
    for (let at = 0; at < bytes.length; at += size) {
      incoming.add(bytes.subarray(at, at + size))
      for (let one = incoming.take(); one !== undefined; one = incoming.take()) found.push(one)
    }
    expect(found).toEqual(messages)
  }
})

test('what is no message is refused, and nothing is allocated for it', () => {
  const long = Buffer.alloc(LENGTH_BYTES)
  long.writeUInt32LE(0xffff_ffff)
  const incoming = new Incoming()
  incoming.add(long)
  expect(() => incoming.take()).toThrow(RangeError)
  const text = new Incoming()
  text.add(Buffer.concat([Buffer.from([1, 0, 0, 0]), Buffer.from('{')]))
  expect(() => text.take()).toThrow(SyntaxError)
})
