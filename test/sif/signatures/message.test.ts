import { describe, expect, test } from 'vitest'
import { parseMessage } from '../../../sif/signatures/message.ts'

const read = (text: string) => (): unknown => parseMessage(Buffer.from(text), 'a.sif: object 3')

describe('the message of a signature', () => {
  test('of x509, which was written for some weeks, is refused by its name', () => {
    expect(read('-----BEGIN SIGNED MESSAGE-----\n\n{}\n-----BEGIN SIGNATURE-----\n')).toThrow(
      /^a\.sif: object 3: signature format not recognized: x509, which existed for some weeks of 2022/,
    )
  })

  test('in another form is refused', () => {
    expect(read('hello')).toThrow(/^a\.sif: object 3: signature format not recognized$/)
  })

  test.each([
    ['{', /envelope: not valid JSON/],
    ['{"payloadType":"text/plain","payload":"","signatures":[{"sig":""}]}', /payload of another type/],
    ['{"payloadType":"application/vnd.sylabs.sif-metadata+json","signatures":[{"sig":""}]}', /no payload/],
    [
      '{"payloadType":"application/vnd.sylabs.sif-metadata+json","payload":"","signatures":[]}',
      /no list of signatures/,
    ],
    [
      '{"payloadType":"application/vnd.sylabs.sif-metadata+json","payload":"","signatures":[null]}',
      /a signature without bytes/,
    ],
    ['-----BEGIN PGP SIGNED MESSAGE-----\n\nSIFHASH:\nab\n', /without its end/],
  ])('with something missing says what: %s', (text, error) => {
    expect(read(text)).toThrow(error)
  })
})
