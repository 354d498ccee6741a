import { FsError } from '../../src/base/index.ts'
import type { SifObject } from '../descriptor.ts'
import { objectTitle, readObject, type Sif } from '../sif.ts'
import { TYPE } from '../types.ts'
import { digestObjects, matchesHeader, matchesRecord, type OnBytes } from './digests.ts'
import { MESSAGE_LIMIT, parseMessage, type SignatureMessage } from './message.ts'
import type { SignedMetadata, SignedObject } from './metadata.ts'
import { checkClearSigned, checkEnvelope, type SignerVerdict, type TrustedKeys } from './signers.ts'

export interface SignatureOptions extends TrustedKeys {
  /** Signatures from before 2020 count, too, which cover data alone. */
  readonly legacy?: boolean | undefined
}

/** What one signature of a SIF comes to. */
export interface SignatureVerdict {
  /** Number of its object. */
  readonly id: number
  readonly form?: SignatureMessage['form']
  /** `unchecked`: what it says is so, and nobody checked who said it. `ignored`: a legacy one. */
  readonly state: 'verified' | 'unchecked' | 'failed' | 'ignored'
  /** Key or kind of key, where it was checked. */
  readonly signer?: string
  /** Why it is not `verified`. */
  readonly reason?: string
  /** Numbers of the objects that it covers. */
  readonly objects: readonly number[]
}

/** What the signatures of a SIF say of one object. */
export interface ObjectVerdict {
  readonly object: SifObject
  readonly title: string
  /** The worst that any signature says of it; `uncovered`: none says anything. */
  readonly state: 'verified' | 'unchecked' | 'failed' | 'uncovered'
  readonly reason?: string
}

export interface SignaturesReport {
  readonly signatures: readonly SignatureVerdict[]
  /** All objects but the signatures, in the order of their records. */
  readonly objects: readonly ObjectVerdict[]
}

/** Algorithms of descriptors, as `node:crypto` names them; BLAKE2b of 256 bits is not among those. */
const HASHES: Readonly<Record<number, string>> = { 1: 'sha256', 2: 'sha384', 3: 'sha512', 4: 'blake2s256' }

/** One object as a signature describes it. */
interface Covered {
  readonly object: SifObject
  readonly signed: SignedObject
}

/**
 * Recomputes all digests of all signatures of a SIF, and checks who signed as far as keys were given.
 * @throws FsError EIO where the file cannot be read. What does not match is in the report
 */
export async function verifySignatures(
  sif: Sif,
  options: SignatureOptions,
  onBytes: OnBytes,
): Promise<SignaturesReport> {
  const check = new SignatureCheck(sif, options, onBytes)
  const signatures: SignatureVerdict[] = []
  for (const object of sif.objects)
    if (object.type === TYPE.signature) signatures.push(await check.verdictOf(object))
  return {
    signatures,
    objects: sif.objects
      .filter(({ type }) => type !== TYPE.signature)
      .map((one) => check.stateOf(one, signatures)),
  }
}

/** How many bytes of data signatures cover, each object once. Those that cannot be read cover nothing. */
export function signedBytes(sif: Sif): number {
  const covered = new Set(signedObjects(sif).map(({ object }) => object))
  return [...covered].reduce((sum, { size }) => sum + Math.max(0, size), 0)
}

/**
 * The digests that the signatures of a SIF give for the data of an object: nobody checked who signed.
 * @returns `algorithm:hex`, by the names of `node:crypto`
 */
export function signedDigestsOf(sif: Sif, { slot }: SifObject): readonly string[] {
  const found = signedObjects(sif).filter(({ object }) => object.slot === slot)
  return [...new Set(found.map(({ signed }) => `${signed.data.algorithm}:${signed.data.hex}`))]
}

/** Everything that signatures of the current forms describe; what is wrong with one of them is told by `verifySignatures`. */
function signedObjects(sif: Sif): readonly Covered[] {
  return sif.objects
    .filter(({ type }) => type === TYPE.signature)
    .flatMap((signature) => {
      try {
        const message = messageOf(sif, signature)
        return message.form === 'legacy' ? [] : coveredBy(sif, signature, message.metadata)
      } catch (error) {
        if (error instanceof FsError) return []
        throw error
      }
    })
}

class SignatureCheck {
  readonly #sif: Sif
  readonly #options: SignatureOptions
  readonly #onBytes: OnBytes
  readonly #hashes = new Map<string, string>()
  /** Why the data or the record of an object are not what was signed, by slot. */
  readonly #failures = new Map<number, string>()

  constructor(sif: Sif, options: SignatureOptions, onBytes: OnBytes) {
    this.#sif = sif
    this.#options = options
    this.#onBytes = onBytes
  }

  async verdictOf(signature: SifObject): Promise<SignatureVerdict> {
    const { id } = signature
    let form: SignatureMessage['form'] | undefined
    let objects: readonly number[] = []
    try {
      const message = messageOf(this.#sif, signature)
      form = message.form
      if (message.form === 'legacy') {
        if (this.#options.legacy !== true) {
          const reason =
            'a legacy signature, which covers neither header nor descriptors: it counts with --legacy'
          return { id, form, state: 'ignored', reason, objects }
        }
        objects = (await this.#checkLegacy(signature, message.hex)).map((one) => one.id)
      } else {
        const covered = coveredBy(this.#sif, signature, message.metadata)
        objects = covered.map(({ object }) => object.id)
        await this.#checkDigests(message.metadata, covered)
      }
      return { id, form, objects, ...stateOf(this.#signerOf(signature, message)) }
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      return { id, ...(form === undefined ? {} : { form }), state: 'failed', reason: error.message, objects }
    }
  }

  /** The worst that was found of an object. */
  stateOf(object: SifObject, signatures: readonly SignatureVerdict[]): ObjectVerdict {
    const common = { object, title: objectTitle(object) }
    const failure = this.#failures.get(object.slot)
    if (failure !== undefined) return { ...common, state: 'failed', reason: failure }
    const about = signatures.filter(
      ({ objects, state }) => state !== 'ignored' && objects.includes(object.id),
    )
    if (about.length === 0) return { ...common, state: 'uncovered', reason: 'no signature covers it' }
    const bad = about.find(({ state }) => state === 'failed')
    if (bad !== undefined) return { ...common, state: 'failed', reason: `signature ${bad.id} is not valid` }
    const isChecked = about.every(({ state }) => state === 'verified')
    return { ...common, state: isChecked ? 'verified' : 'unchecked' }
  }

  /** @throws FsError EIO for the first thing that does not match, after all were looked at */
  async #checkDigests({ header }: SignedMetadata, covered: readonly Covered[]): Promise<void> {
    const wrong: string[] = []
    if (!matchesHeader(this.#sif, header))
      wrong.push('the header of the file (launch script, version, id) is not what was signed')
    for (const { object, signed } of covered) {
      const found = await this.#mismatchOf(object, signed)
      if (found === undefined) continue
      this.#failures.set(object.slot, found)
      wrong.push(`${objectTitle(object)}: ${found}`)
    }
    if (wrong.length > 0) throw new FsError('EIO', wrong.join('; '))
  }

  async #mismatchOf(
    object: SifObject,
    { relativeId, descriptor, data }: SignedObject,
  ): Promise<string | undefined> {
    if (!matchesRecord(this.#sif, object, relativeId, descriptor))
      return 'its descriptor is not what was signed'
    try {
      const actual = await this.#hashOf([object], data.algorithm)
      return actual === data.hex
        ? undefined
        : `its data have ${data.algorithm} ${actual}, and ${data.hex} was signed`
    } catch (error) {
      if (error instanceof FsError) return error.message
      throw error
    }
  }

  /** Each object is read once for each algorithm, however many signatures cover it. */
  async #hashOf(objects: readonly SifObject[], algorithm: string): Promise<string> {
    const key = `${algorithm} ${objects.map(({ slot }) => slot).join()}`
    const known = this.#hashes.get(key)
    if (known !== undefined) return known
    const hash = await digestObjects(this.#sif, objects, algorithm, this.#onBytes)
    this.#hashes.set(key, hash)
    return hash
  }

  /** @returns what the signature covers. @throws FsError EIO where the data are not those that were signed */
  async #checkLegacy(signature: SifObject, hex: string): Promise<readonly SifObject[]> {
    const objects = linkedObjects(this.#sif, signature)
    const algorithm = hashOf(signature)
    const actual = await this.#hashOf(objects, algorithm)
    if (actual === hex) return objects
    for (const { slot } of objects) this.#failures.set(slot, 'its data are not what was signed')
    throw new FsError('EIO', `the data have ${algorithm} ${actual}, and ${hex} was signed`)
  }

  #signerOf(signature: SifObject, message: SignatureMessage): SignerVerdict {
    const { extra } = signature
    if (message.form === 'dsse') return checkEnvelope(message, hashOf(signature), this.#options)
    const fingerprint = extra.of === 'signature' ? extra.fingerprint : undefined
    return checkClearSigned(message.message, fingerprint, this.#options)
  }
}

function stateOf(signer: SignerVerdict): Pick<SignatureVerdict, 'state' | 'signer' | 'reason'> {
  if (signer.state === 'checked') return { state: 'verified', signer: signer.signer }
  const { reason } = signer
  return signer.state === 'wrong'
    ? { state: 'failed', reason }
    : { state: 'unchecked', reason: `digests match, signer not checked: ${reason}` }
}

/** @throws FsError EIO */
function messageOf(sif: Sif, signature: SifObject): SignatureMessage {
  return parseMessage(
    readObject(sif, signature, MESSAGE_LIMIT),
    `${sif.source.label}: ${objectTitle(signature)}`,
  )
}

/** The algorithm that a signature says it uses. @throws FsError EOPNOTSUPP */
function hashOf({ extra }: SifObject): string {
  const number = extra.of === 'signature' ? extra.hash : 0
  const name = HASHES[number]
  if (name === undefined)
    throw new FsError('EOPNOTSUPP', `hash algorithm ${number} of the signature is not supported`)
  return name
}

/** What a signature is linked to, in the order of the records. @throws FsError EIO where there is nothing */
function linkedObjects({ objects, source }: Sif, signature: SifObject): readonly SifObject[] {
  const { link } = signature
  const found = objects.filter((one) => {
    if (link === undefined || one.type === TYPE.signature) return false
    return 'group' in link ? one.group === link.group : one.id === link.object
  })
  if (found.length > 0) return found
  throw new FsError('EIO', `${source.label}: ${objectTitle(signature)} is linked to nothing in the file`)
}

/**
 * The objects that a signature describes. Its numbers count from the smallest one in the group.
 * @throws FsError EIO where an object is missing that it describes
 */
function coveredBy(sif: Sif, signature: SifObject, { objects }: SignedMetadata): readonly Covered[] {
  const linked = linkedObjects(sif, signature)
  const [{ group } = { group: undefined }] = linked
  const members = sif.objects.filter((one) => one.group === group && one.type !== TYPE.signature)
  const first = Math.min(...members.map(({ id }) => id))
  const byId = new Map(members.map((one) => [one.id, one]))
  const where = `${sif.source.label}: ${objectTitle(signature)}`
  if (byId.size < members.length)
    throw new FsError('EIO', `${where}: two objects of its group have the same number`)
  return objects.map((signed) => {
    const object = byId.get(first + signed.relativeId)
    if (object !== undefined && (group !== undefined || linked.includes(object))) return { object, signed }
    throw new FsError(
      'EIO',
      `${where}: object ${first + signed.relativeId} was signed, and is not in the file`,
    )
  })
}
